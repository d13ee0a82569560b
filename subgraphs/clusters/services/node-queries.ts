import { requireRole } from "../../../platform/auth/identity.ts";
import { FleetError, invalidArgument } from "../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../platform/request-context.ts";
import type { LogEvent } from "../../kit/events/event.ts";
import type { EventLog } from "../../kit/events/event-log.ts";
import { checkId, checkListLength, isStorable } from "../../kit/input-checks.ts";
import { type Connection, type ConnectionArguments, connection } from "../../kit/pagination.ts";
import type { EntityManager } from "../../kit/store/orm.ts";
import type { ClustersConfig } from "../config.ts";
import { Node } from "../entities/node.ts";
import { NodeLiveness } from "../entities/node-liveness.ts";
import { filterMatcher, filterQuery } from "./node-filter.ts";
import { checkFilter, type RawNodeFilter } from "./node-input.ts";
import { mayReadNode, nodeNotFound } from "./node-rights.ts";
import { type NodeTotals, nodeTotals } from "./node-totals.ts";
import { NODE_STREAM, type NodeView, type Resources } from "./node-types.ts";
import type { NodeWriter } from "./node-writer.ts";

/** Node ids that one watch may name. */
const MAX_WATCHED_IDS = 1_000;

export interface NodeList extends Connection<NodeView> {
  watchCursor: string;
}

export interface ClusterInfo extends Pick<NodeTotals, "totalNodes" | "nodesByStatus" | "massExpiry"> {
  clusterName: string;
  readyNodes: number;
  totalCapacity: Resources;
  totalAllocated: Resources;
  leaseTtlSeconds: number;
}

export interface NodeWatch {
  nodeIds?: readonly string[] | null;
  filter?: RawNodeFilter | null;
  after?: string | null;
  snapshot?: boolean | null;
  bookmarks: boolean;
}

/** What can be read of nodes. */
export class NodeQueries {
  readonly #writer: NodeWriter;
  readonly #log: EventLog;
  readonly #config: Pick<ClustersConfig, "clusterName" | "leaseTtlSeconds">;

  constructor(writer: NodeWriter, log: EventLog, config: Pick<ClustersConfig, "clusterName" | "leaseTtlSeconds">) {
    this.#writer = writer;
    this.#log = log;
    this.#config = config;
  }

  /** Rights: viewer, or the node's own certificate. Deregistered nodes too. Throws NOT_FOUND, naming `field`. */
  async get(ctx: RequestContext, id: string, field = "nodeId"): Promise<NodeView> {
    if (ctx.identity?.kind !== "agent") requireRole(ctx.identity, "viewer");
    const [node] = await this.#views([checkId(field, id)]);
    if (!node) throw nodeNotFound(id, field);
    if (!mayReadNode(ctx.identity, node)) {
      throw new FleetError("FORBIDDEN", "This node belongs to another identity.", { reason: "NotYourNode", details: { id } });
    }
    return node;
  }

  /** In the order of the ids, null where there is none. Rights: viewer. */
  async getMany(ctx: RequestContext, ids: readonly string[]): Promise<Array<NodeView | null>> {
    requireRole(ctx.identity, "viewer");
    return this.#views(ids);
  }

  /** By hostname. Rights: viewer. */
  async list(ctx: RequestContext, rawFilter: RawNodeFilter | null | undefined, page: ConnectionArguments): Promise<NodeList> {
    requireRole(ctx.identity, "viewer");
    const filter = checkFilter(rawFilter);
    const watchCursor = await this.#log.cursor(NODE_STREAM);
    return this.#writer.store.read(async (em) => {
      const { nodes, edges, ...rest } = await connection(
        em,
        { list: "nodes", entity: Node, where: filterQuery(filter), sort: "hostname" },
        page,
      );
      const views = await this.#viewsOf(em, nodes);
      const view = (node: Node) => views.get(node.id) as NodeView;
      return { ...rest, nodes: nodes.map(view), edges: edges.map(({ cursor, node }) => ({ cursor, node: view(node) })), watchCursor };
    });
  }

  /** Rights: viewer. Throws INVALID_ARGUMENT at once; what is wrong with `after` comes with the first event. */
  watch(
    ctx: RequestContext,
    { nodeIds, filter: rawFilter, after, snapshot, bookmarks }: NodeWatch,
  ): AsyncIterableIterator<LogEvent<NodeView>> {
    requireRole(ctx.identity, "viewer");
    const filter = checkFilter(rawFilter);
    if (filter.deregistered) throw invalidArgument("filter.deregistered", "Deregistered nodes have no events.");
    checkListLength("nodeIds", nodeIds ?? [], MAX_WATCHED_IDS);
    for (const id of nodeIds ?? []) checkId("nodeIds", id);
    return this.#log.watch<NodeView>(NODE_STREAM, {
      after,
      snapshot: snapshot ?? false,
      matches: filterMatcher(filter, nodeIds ?? []),
      bookmarks,
      signal: ctx.signal,
    });
  }

  /** Rights: viewer. */
  async clusterInfo(ctx: RequestContext): Promise<ClusterInfo> {
    requireRole(ctx.identity, "viewer");
    const { capacity, allocated, ...totals } = await this.#writer.store.read(nodeTotals);
    const { clusterName, leaseTtlSeconds } = this.#config;
    const readyNodes = totals.nodesByStatus.find(({ status }) => status === "READY")?.count ?? 0;
    return { clusterName, leaseTtlSeconds, ...totals, readyNodes, totalCapacity: capacity, totalAllocated: allocated };
  }

  async #views(ids: readonly string[]): Promise<Array<NodeView | null>> {
    const views = await this.#writer.store.read(async (em) =>
      this.#viewsOf(em, await em.find(Node, { id: { $in: ids.filter(isStorable) } })),
    );
    return ids.map((id) => views.get(id) ?? null);
  }

  async #viewsOf(em: EntityManager, nodes: readonly Node[]): Promise<Map<string, NodeView>> {
    const liveness = nodes.length === 0 ? [] : await em.find(NodeLiveness, { nodeId: { $in: nodes.map(({ id }) => id) } });
    const lastSeen = new Map(liveness.map((row) => [row.nodeId, row.lastSeen]));
    return new Map(nodes.map((node) => [node.id, this.#writer.view(node, lastSeen.get(node.id) ?? null)]));
  }
}
