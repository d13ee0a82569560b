import { setTimeout as sleep } from "node:timers/promises";
import { NodeStatus } from "../../../schema/generated/proto/hypervisor/v1/cluster.ts";
import type { Resources } from "../../../schema/generated/proto/hypervisor/v1/common.ts";
import type { AgentDirectory } from "../../kit/agents/agent-directory.ts";
import { type NodeRecord, refusal } from "../../kit/agents/node-record.ts";
import type { PlacementNode } from "./placement-types.ts";

/** How long a caller waits for the first snapshot of the nodes. */
const SYNC_MS = 2_000;

/** The nodes as placement sees them. */
export class FleetView {
  readonly #directory: AgentDirectory;

  constructor(directory: AgentDirectory) {
    this.#directory = directory;
  }

  /** Throws UNAVAILABLE (reason DirectoryNotReady) where the nodes are not known within a short time. */
  async whenKnown(signal: AbortSignal): Promise<void> {
    if (this.#directory.synced) return;
    await Promise.race([this.#directory.untilSynced(), sleep(SYNC_MS, undefined, { signal, ref: false })]);
    if (!this.#directory.synced) throw refusal("DirectoryNotReady", "The nodes are not known yet: try again shortly.", { nodeId: "" });
  }

  get(nodeId: string): NodeRecord | undefined {
    return this.#directory.get(nodeId);
  }

  /** Whether the node has left the fleet. False where that cannot be told. */
  isGone(nodeId: string): boolean {
    return this.#directory.synced && this.#directory.get(nodeId) === undefined;
  }

  /** All nodes, each with what it holds for its instances, for the caller to count on. */
  nodes(reservations: ReadonlyMap<string, Resources>): PlacementNode[] {
    const nodes: PlacementNode[] = [];
    for (const nodeId of this.#directory.nodeIds()) {
      const record = this.#directory.get(nodeId);
      if (record) nodes.push(placementNode(record, reservations.get(nodeId)));
    }
    return nodes;
  }
}

const NOTHING: Resources = { cpuCores: 0, memoryBytes: 0, diskBytes: 0, gpuCount: 0 };

export function placementNode(record: NodeRecord, reserved: Resources = NOTHING): PlacementNode {
  return {
    nodeId: record.nodeId,
    hostname: record.hostname,
    ready: record.status === NodeStatus.READY && !record.leaseExpired,
    maintenance: record.maintenance,
    simulated: record.simulated,
    worker: record.worker,
    region: record.region,
    zone: record.zone,
    labels: record.labels,
    supportedTypes: record.supportedInstanceTypes,
    allocatable: record.allocatable,
    reserved: { ...reserved },
  };
}
