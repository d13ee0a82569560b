import { requireRole } from "../../../platform/auth/identity.ts";
import { FleetError } from "../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../platform/request-context.ts";
import { AgentServiceDefinition, type HardwareUsage } from "../../../schema/generated/proto/hypervisor/v1/agent.ts";
import type { AgentCalls } from "../../kit/agents/agent-calls.ts";
import type { AgentDirectory } from "../../kit/agents/agent-directory.ts";
import type { NodeRecord } from "../../kit/agents/node-record.ts";
import type { Store } from "../../kit/store/orm.ts";
import { NodeInventory } from "../entities/node-inventory.ts";

/** What is changing on a host, read a moment ago; or why it could not be read. */
export type UsageOutcome = { usage: HardwareUsage } | { refusal: FleetError };

/** Whether a node exists, as far as is known. `unknown`: the nodes have not been told yet. */
export type NodePresence = { state: "present"; record: NodeRecord } | { state: "absent" | "unknown" };

export interface HardwareReadsParts {
  store: Store;
  directory: AgentDirectory;
  agents: AgentCalls;
}

/** Reads hardware: the static part from the store, what changes from the agents. Rights: viewer. */
export class HardwareReads {
  readonly #parts: HardwareReadsParts;

  constructor(parts: HardwareReadsParts) {
    this.#parts = parts;
  }

  /** In one query, in the order of the ids; null where nothing was reported. */
  async inventories(ctx: RequestContext, nodeIds: readonly string[]): Promise<Array<NodeInventory | null>> {
    requireRole(ctx.identity, "viewer");
    const rows = await this.#parts.store.read((em) => em.find(NodeInventory, { nodeId: { $in: [...nodeIds] } }));
    const byId = new Map(rows.map((row) => [row.nodeId, row]));
    return nodeIds.map((nodeId) => byId.get(nodeId) ?? null);
  }

  /** Asks each node's agent, all at once within the bounds of AgentCalls; an agent that does not answer is no failure of the others. */
  async usages(ctx: RequestContext, nodeIds: readonly string[]): Promise<UsageOutcome[]> {
    requireRole(ctx.identity, "viewer");
    return Promise.all(nodeIds.map((nodeId) => this.#usage(ctx, nodeId)));
  }

  presence(nodeId: string): NodePresence {
    const record = this.#parts.directory.get(nodeId);
    if (record) return { state: "present", record };
    return { state: this.#parts.directory.synced ? "absent" : "unknown" };
  }

  async #usage(ctx: RequestContext, nodeId: string): Promise<UsageOutcome> {
    try {
      const usage = await this.#parts.agents.read(ctx, nodeId, AgentServiceDefinition, "GetHardwareUsage", (client, options) =>
        client.getHardwareUsage({ nodeId }, options),
      );
      return { usage };
    } catch (error) {
      // The caller's own end is the caller's business.
      ctx.signal.throwIfAborted();
      const refusal = FleetError.from(error);
      if (refusal.code === "INTERNAL") ctx.log.error({ err: refusal.cause ?? refusal, nodeId }, "reading a node's usage failed");
      return { refusal };
    }
  }
}

/** Why a node has no inventory, as a word for `unavailable`. */
export function missingReason(presence: NodePresence): string {
  if (presence.state !== "present") return "NOT_REPORTED_YET";
  if (presence.record.simulated) return "SIMULATED";
  return presence.record.agentId === null ? "NO_AGENT" : "NOT_REPORTED_YET";
}
