import type { ChannelLease } from "../../../../platform/grpc/channel-pool.ts";
import type { GrpcClient } from "../../../../platform/grpc/client.ts";
import { parseHostPort } from "../../../../platform/grpc/listen-address.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import { ClusterServiceDefinition, type Node, NodeKind, NodeRole } from "../../../../schema/generated/proto/hypervisor/v1/cluster.ts";
import type { NodeRecord } from "../../../kit/agents/node-record.ts";
import type { BridgedHost } from "../../entities/bridged-host.ts";

type Context = Pick<RequestContext, "requestId" | "deadlineAt" | "signal">;
type ClusterClient = GrpcClient<typeof ClusterServiceDefinition>;

const DEADLINE_MS = 5_000;

/** What becomes of hosts in the clusters subgraph, which owns the nodes. Each call may be repeated. */
export class ClusterNodes {
  readonly #clusters: () => ChannelLease | Promise<ChannelLease>;

  constructor(clusters: () => ChannelLease | Promise<ChannelLease>) {
    this.#clusters = clusters;
  }

  /** Makes the host a node of the agent's, once; gives its id. Throws ALREADY_EXISTS (HostnameTaken), UNAVAILABLE, DEADLINE_EXCEEDED. */
  async register(ctx: Context, host: BridgedHost, agent: NodeRecord): Promise<string> {
    const { probed, region, zone, labels } = host.settings;
    const { host: ip, port } = parseHostPort(agent.address ?? "");
    const { nodeId } = await this.#call(ctx, (client, options) =>
      client.registerNode(
        {
          ...{ hostname: host.hostname, ip, port, role: NodeRole.WORKER, kind: NodeKind[host.kind], uri: host.uri },
          ...{ capacity: probed?.capacity, supportedInstanceTypes: probed?.supportedInstanceTypes ?? [] },
          ...{ agentId: host.agentId ?? "", clientRequestId: host.id },
        },
        options,
      ),
    );
    // Not with the registration: what an operator sets holds against agents, which know nothing of it.
    if (region !== null || zone !== null || Object.keys(labels).length > 0) {
      const change = { nodeId, region: region ?? undefined, zone: zone ?? undefined, labels: { entries: labels } };
      await this.#call(ctx, (client, options) => client.updateNode(change, options));
    }
    return nodeId;
  }

  /** From now on this agent alone may report the node, whose host is reached at `uri` where that is given. Throws NOT_FOUND, FAILED_PRECONDITION (NodeDeregistered), UNAVAILABLE. */
  async assign(ctx: Context, nodeId: string, agentId: string, uri = ""): Promise<void> {
    await this.#call(ctx, (client, options) => client.assignNode({ nodeId, agentId, uri }, options));
  }

  /** Deregistered nodes, too. Throws NOT_FOUND, UNAVAILABLE. */
  get(ctx: Context, nodeId: string): Promise<Node> {
    return this.#call(ctx, (client, options) => client.getNode({ nodeId }, options));
  }

  /** Already so: nothing happens. Throws NOT_FOUND, UNAVAILABLE. */
  async deregister(ctx: Context, nodeId: string): Promise<void> {
    await this.#call(ctx, (client, options) => client.deregisterNode({ nodeId }, options));
  }

  async #call<T>(ctx: Context, call: (client: ClusterClient, options: { context: Context; deadlineMs: number }) => Promise<T>): Promise<T> {
    using lease = await this.#clusters();
    return await call(lease.client(ClusterServiceDefinition), { context: ctx, deadlineMs: DEADLINE_MS });
  }
}
