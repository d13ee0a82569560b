import { callerName, requireRole } from "../../../../platform/auth/identity.ts";
import { FleetError, notFound } from "../../../../platform/errors/fleet-error.ts";
import type { ChannelLease } from "../../../../platform/grpc/channel-pool.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import type { Node } from "../../../../schema/generated/proto/hypervisor/v1/cluster.ts";
import { EvacuationServiceDefinition, type NodeInstanceCounts } from "../../../../schema/generated/proto/hypervisor/v1/evacuation.ts";
import { checkId, checkOneOf } from "../../../kit/input-checks.ts";
import { BridgedHost } from "../../entities/bridged-host.ts";
import { checkConfirmation } from "../operations/operation-input.ts";
import { INSTANCE_POLICIES, type InstancePolicy, type OperationView } from "../operations/operation-types.ts";
import type { ClusterNodes } from "./cluster-nodes.ts";
import type { HostClaims } from "./host-claims.ts";
import { type HostConfiguration, hostConfiguration } from "./host-configuration.ts";

export interface HostRemovalsParts {
  ctx: RequestContext;
  claims: HostClaims;
  nodes: ClusterNodes;
  /** A connection to the compute subgraph's services, as the control plane. */
  compute: () => ChannelLease | Promise<ChannelLease>;
  operations: DeletionOperations;
}

export interface RawDeletion {
  nodeId: string;
  hostname: string;
  instances?: string | null;
}

/** Deletions of nodes whose instances have to leave first. */
export interface DeletionOperations {
  begin(ctx: RequestContext, deletion: { nodeId: string; hostname: string; instances: InstancePolicy }): Promise<OperationView>;
  /** Throws CONFLICT (OperationUnderWay). */
  requireNone(nodeId: string): Promise<void>;
}

export interface RemovedHost {
  nodeId: string;
  configuration: HostConfiguration;
  /** What takes its instances away first; null: it is deleted. */
  operation: OperationView | null;
}

const COUNT_MS = 5_000;
const RETRY_MS = 5_000;
const AT_ONCE = 8;

/** Takes nodes out of the fleet. Nothing is done on the host. */
export class HostRemovals {
  readonly #parts: HostRemovalsParts;

  constructor(parts: HostRemovalsParts) {
    this.#parts = parts;
  }

  /**
   * Takes the node out of the fleet, and gives what it can be added again with. Rights: admin. With MIGRATE and STOP this is an operation, whose end
   * is the node's. Throws NOT_FOUND; INVALID_ARGUMENT (ConfirmationMismatch) where another hostname was typed; CONFLICT (OperationUnderWay);
   * FAILED_PRECONDITION (InstancesRunning) while instances run there; UNAVAILABLE.
   */
  async delete(ctx: RequestContext, { nodeId, hostname, instances: asked }: RawDeletion): Promise<RemovedHost> {
    requireRole(ctx.identity, "admin");
    const instances = checkOneOf("instances", asked ?? "REFUSE", INSTANCE_POLICIES);
    const node = await this.#find(ctx, checkId("nodeId", nodeId));
    checkConfirmation(hostname, node.hostname);
    const configuration = await this.configuration(node);
    if (instances !== "REFUSE" && !node.deregistered) {
      const operation = await this.#parts.operations.begin(ctx, { nodeId, hostname, instances });
      return { nodeId, configuration, operation };
    }
    await this.#parts.operations.requireNone(nodeId);
    if (!node.deregistered) await this.#refuseRunning(ctx, nodeId);
    await this.finish(ctx, nodeId);
    ctx.log.info({ nodeId, hostname: node.hostname, by: callerName(ctx.identity) }, "a node was deleted");
    return { nodeId, configuration, operation: null };
  }

  /** What the node can be added again with; no secret. */
  async configuration(node: Node): Promise<HostConfiguration> {
    const host = await this.#parts.claims.store.read((em) => em.findOne(BridgedHost, { nodeId: node.id }));
    return hostConfiguration(node, host);
  }

  /**
   * The end of a node's deletion: its agent lets go of it, then it is deregistered, then what is kept of it goes. May be repeated; what a crash cut
   * off is gone on with.
   */
  async finish(ctx: RequestContext, nodeId: string): Promise<void> {
    const { claims, nodes } = this.#parts;
    const host = await claims.store.read((em) => em.findOne(BridgedHost, { nodeId }, { fields: ["id"] }));
    if (host === null) return void (await nodes.deregister(ctx, nodeId));
    const claim = await claims.claim(host.id, {});
    if (claim === null) {
      throw new FleetError("CONFLICT", "The node is being given to another agent, or deleted: try again shortly.", {
        details: { id: nodeId },
      });
    }
    try {
      await claims.change(claim, (row) => {
        row.state = "REMOVING";
      });
      await nodes.deregister(ctx, nodeId);
      await claims.remove(claim);
    } catch (error) {
      await claims.release(claim, RETRY_MS).catch(() => undefined);
      throw error;
    }
  }

  /** Goes on with what was cut off. */
  async round(): Promise<void> {
    const { ctx, claims } = this.#parts;
    for (const { nodeId } of await claims.unclaimed({ state: "REMOVING" }, AT_ONCE)) {
      if (nodeId !== null && !ctx.signal.aborted) await this.finish(ctx, nodeId);
    }
  }

  /** One that was deregistered counts while its host is still kept here. */
  async #find(ctx: RequestContext, nodeId: string): Promise<Node> {
    const node = await this.#parts.nodes.get(ctx, nodeId);
    if (!node.deregistered) return node;
    const kept = await this.#parts.claims.store.read((em) => em.count(BridgedHost, { nodeId }));
    if (kept === 0) throw notFound("Node", nodeId);
    return node;
  }

  async #refuseRunning(ctx: RequestContext, nodeId: string): Promise<void> {
    const { managed, running } = await this.#count(ctx, nodeId);
    if (running === 0) return;
    throw new FleetError(
      "FAILED_PRECONDITION",
      `${running} ${running === 1 ? "instance runs" : "instances run"} there: stop or move them first, or delete with instances: MIGRATE or STOP.`,
      { reason: "InstancesRunning", details: { id: nodeId, running, managed } },
    );
  }

  async #count(ctx: RequestContext, nodeId: string): Promise<NodeInstanceCounts> {
    using lease = await this.#parts.compute();
    return await lease.client(EvacuationServiceDefinition).countInstances({ nodeId }, { context: ctx, deadlineMs: COUNT_MS });
  }
}
