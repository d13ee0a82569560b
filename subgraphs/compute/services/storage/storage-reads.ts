import { requireRole } from "../../../../platform/auth/identity.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import { StorageAgentServiceDefinition } from "../../../../schema/generated/proto/hypervisor/v1/storage.ts";
import type { AgentCalls } from "../../../kit/agents/agent-calls.ts";
import { poolView, volumeView } from "./storage-messages.ts";
import type { PoolView, VolumeView } from "./storage-types.ts";

/** What hosts tell of their pools and volumes. Nothing of it is stored here. */
export class StorageReads {
  readonly #agents: AgentCalls;

  constructor(agents: AgentCalls) {
    this.#agents = agents;
  }

  /** By name. Rights: viewer. Throws as AgentCalls.read, and UNIMPLEMENTED where the host has no pools. */
  async pools(ctx: RequestContext, nodeId: string): Promise<PoolView[]> {
    requireRole(ctx.identity, "viewer");
    const { pools } = await this.#agents.read(ctx, nodeId, StorageAgentServiceDefinition, "ListPools", (client, options) =>
      client.listPools({ nodeId }, options),
    );
    return pools.map((pool) => poolView(nodeId, pool)).sort(byName);
  }

  /** Of all pools of a node, by name. Rights: viewer. Throws as `pools`. */
  async volumes(ctx: RequestContext, nodeId: string): Promise<VolumeView[]> {
    requireRole(ctx.identity, "viewer");
    const { volumes } = await this.#agents.read(ctx, nodeId, StorageAgentServiceDefinition, "ListVolumes", (client, options) =>
      client.listVolumes({ nodeId, pool: "" }, options),
    );
    return volumes.map((volume) => volumeView(nodeId, volume)).sort(byName);
  }
}

function byName(a: { name: string }, b: { name: string }): number {
  return a.name < b.name ? -1 : 1;
}
