import { FleetError } from "../../../platform/errors/fleet-error.ts";
import type { ChannelLease } from "../../../platform/grpc/channel-pool.ts";
import type { RequestContext } from "../../../platform/request-context.ts";
import { ClusterServiceDefinition, NodeStatus } from "../../../schema/generated/proto/hypervisor/v1/cluster.ts";
import type { Resources } from "../../../schema/generated/proto/hypervisor/v1/common.ts";
import type { AgentDirectory } from "../../kit/agents/agent-directory.ts";
import type { NodeRecord } from "../../kit/agents/node-record.ts";
import type { Store } from "../../kit/store/orm.ts";
import type { ComputeConfig } from "../config.ts";
import { readReservations } from "./reservations.ts";

export interface AllocationDriftParts {
  ctx: RequestContext;
  store: Store;
  directory: AgentDirectory;
  /** A connection to ClusterService, as the control plane. */
  clusters: () => ChannelLease | Promise<ChannelLease>;
  config: Pick<ComputeConfig, "driftAfterMs">;
  clock?: () => number;
}

const CONDITION = "AllocationDrift";
const NOTHING: Resources = { cpuCores: 0, memoryBytes: 0, diskBytes: 0, gpuCount: 0 };

/** Two figures that stand apart, and since when they have not moved. */
interface Difference {
  figures: string;
  since: number;
}

/**
 * Compares what each node's agent says is handed out with what is reserved there. Where both have stood apart, unmoved, for a while, the
 * node gets the condition AllocationDrift, and loses it when they agree.
 */
export class AllocationDrift {
  readonly #parts: AllocationDriftParts;
  readonly #clock: () => number;
  readonly #differences = new Map<string, Difference>();

  constructor(parts: AllocationDriftParts) {
    this.#parts = parts;
    this.#clock = parts.clock ?? (() => performance.now());
  }

  async round(): Promise<void> {
    const { directory, store } = this.#parts;
    const reservations = await store.read((em) => readReservations(em));
    const known = new Set(directory.nodeIds());
    for (const nodeId of this.#differences.keys()) if (!known.has(nodeId)) this.#differences.delete(nodeId);
    for (const nodeId of known) {
      const record = directory.get(nodeId);
      // Of a host that is silent nothing new is known.
      if (record === undefined || record.allocated === null || record.leaseExpired || record.simulated) continue;
      const drift = this.#judge(record, record.allocated, reservations.get(nodeId) ?? NOTHING);
      if (drift !== null && drift !== isTold(record)) await this.#tell(record, drift, reservations.get(nodeId) ?? NOTHING);
    }
  }

  /** Null: it cannot be said yet. */
  #judge({ nodeId }: NodeRecord, allocated: Resources, reserved: Resources): boolean | null {
    const figures = `${figure(allocated)} ${figure(reserved)}`;
    if (figure(allocated) === figure(reserved)) {
      this.#differences.delete(nodeId);
      return false;
    }
    const known = this.#differences.get(nodeId);
    if (known?.figures !== figures) {
      this.#differences.set(nodeId, { figures, since: this.#clock() });
      return null;
    }
    return this.#clock() - known.since >= this.#parts.config.driftAfterMs ? true : null;
  }

  async #tell({ nodeId, allocated }: NodeRecord, drift: boolean, reserved: Resources): Promise<void> {
    const condition = drift
      ? { status: "True", reason: "ReservationsDiffer", message: `The agent says ${figure(allocated)}, reserved are ${figure(reserved)}.` }
      : { status: "False", reason: "ReservationsAgree", message: "What the agent says is handed out is what is reserved." };
    try {
      using lease = await this.#parts.clusters();
      await lease
        .client(ClusterServiceDefinition)
        .updateNodeStatus(
          { nodeId, status: NodeStatus.UNSPECIFIED, conditions: [{ type: CONDITION, ...condition }] },
          { context: this.#parts.ctx, deadlineMs: 5_000 },
        );
      this.#parts.ctx.log[drift ? "warn" : "info"]({ nodeId, allocated, reserved }, "a node's allocation and its reservations");
    } catch (error) {
      // The next round tries again.
      const { code, message } = FleetError.from(error);
      this.#parts.ctx.log.warn({ nodeId, code, message }, "a node's condition AllocationDrift was not set");
    }
  }
}

function isTold({ conditions }: NodeRecord): boolean {
  return conditions.some(({ type, status }) => type === CONDITION && status === "True");
}

/** GPUs are handed out by others. */
function figure(resources: Resources | null): string {
  if (resources === null) return "nothing";
  const { cpuCores, memoryBytes, diskBytes } = resources;
  return `${cpuCores} cores, ${memoryBytes} bytes of memory and ${diskBytes} of disks`;
}
