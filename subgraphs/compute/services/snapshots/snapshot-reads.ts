import { requireRole } from "../../../../platform/auth/identity.ts";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import { type NodeSnapshot, SnapshotAgentServiceDefinition } from "../../../../schema/generated/proto/hypervisor/v1/snapshots.ts";
import type { AgentCalls } from "../../../kit/agents/agent-calls.ts";
import { checkOneOf } from "../../../kit/input-checks.ts";
import type { InstanceView } from "../instance-types.ts";
import { SNAPSHOT_STATES, type SnapshotView } from "./snapshot-types.ts";

export type SnapshotsOutcome = { snapshots: SnapshotView[] } | { refusal: FleetError };

/** Snapshots are kept by their hosts alone: they are asked for each time. */
export class SnapshotReads {
  readonly #agents: AgentCalls;

  constructor(agents: AgentCalls) {
    this.#agents = agents;
  }

  /** Rights: viewer. Oldest first. What its node's agent cannot tell is the refusal. */
  async list(ctx: RequestContext, { id, nodeId, type }: Pick<InstanceView, "id" | "nodeId" | "type">): Promise<SnapshotsOutcome> {
    requireRole(ctx.identity, "viewer");
    if (type === "CONTAINER") return { snapshots: [] };
    try {
      const { snapshots } = await this.#agents.read(
        ctx,
        nodeId,
        SnapshotAgentServiceDefinition,
        "ListSnapshots",
        (client, options) => client.listSnapshots({ nodeId, instanceId: id }, options),
        id,
      );
      return { snapshots: snapshots.map(toView) };
    } catch (error) {
      return { refusal: FleetError.from(error) };
    }
  }
}

function toView({ description, createdAt, state, notQuiescedReason, parentId, ...snapshot }: NodeSnapshot): SnapshotView {
  return {
    ...snapshot,
    description: description || null,
    createdAt: createdAt ?? null,
    state: checkOneOf("state", state, SNAPSHOT_STATES),
    notQuiescedReason: notQuiescedReason || null,
    parentId: parentId || null,
  };
}
