import type { FilterQuery } from "@mikro-orm/core";
import { requireRole } from "../../../../platform/auth/identity.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import type { LogEvent } from "../../../kit/events/event.ts";
import type { EventLog } from "../../../kit/events/event-log.ts";
import { checkId, checkName, checkOneOf, isStorable } from "../../../kit/input-checks.ts";
import { type Connection, type ConnectionArguments, connection } from "../../../kit/pagination.ts";
import type { Store } from "../../../kit/store/orm.ts";
import { NodeOperation } from "../../entities/node-operation.ts";
import { operationNotFound } from "./operation-store.ts";
import { OPERATION_KINDS, OPERATION_STREAM, type OperationKind, type OperationView } from "./operation-types.ts";
import { operationView } from "./operation-view.ts";

export interface OperationList extends Connection<OperationView> {
  watchCursor: string;
}

/** What is null does not filter. */
export interface RawOperationFilter {
  nodeId?: string | null;
  kind?: string | null;
  /** True: only those that have not ended. */
  active?: boolean | null;
}

export interface OperationWatch {
  filter?: RawOperationFilter | null;
  after?: string | null;
  snapshot?: boolean | null;
}

/** What can be read of operations. */
export class OperationQueries {
  readonly #store: Store;
  readonly #log: EventLog;

  constructor(store: Store, log: EventLog) {
    this.#store = store;
    this.#log = log;
  }

  /** Rights: viewer. Ended ones too, while they are kept. Throws NOT_FOUND. */
  async get(ctx: RequestContext, id: string): Promise<OperationView> {
    requireRole(ctx.identity, "viewer");
    checkId("id", id);
    const found = await this.#store.read((em) => em.findOne(NodeOperation, { id }));
    if (found === null) throw operationNotFound(id);
    return operationView(found);
  }

  /** What is being done to each node now, in the order of the ids; null for nothing. Rights: viewer. */
  async current(ctx: RequestContext, nodeIds: readonly string[]): Promise<Array<OperationView | null>> {
    requireRole(ctx.identity, "viewer");
    const where = { nodeId: { $in: nodeIds.filter(isStorable) }, finishedAt: null };
    const found = await this.#store.read((em) => em.find(NodeOperation, where));
    const views = new Map(found.map((operation) => [operation.nodeId, operationView(operation)]));
    return nodeIds.map((nodeId) => views.get(nodeId) ?? null);
  }

  /** Newest first. Rights: viewer. */
  async list(ctx: RequestContext, raw: RawOperationFilter | null | undefined, page: ConnectionArguments): Promise<OperationList> {
    requireRole(ctx.identity, "viewer");
    const { nodeId, kind, active } = checkFilter(raw);
    const conditions: Array<FilterQuery<NodeOperation>> = [];
    if (nodeId !== null) conditions.push({ nodeId });
    if (kind !== null) conditions.push({ kind });
    if (active !== null) conditions.push({ finishedAt: active ? null : { $ne: null } });
    const watchCursor = await this.#log.cursor(OPERATION_STREAM);
    return this.#store.read(async (em) => {
      const where: FilterQuery<NodeOperation> = { $and: conditions };
      const query = { list: "nodeOperations", entity: NodeOperation, where, sort: "createdAt" as const, descending: true };
      const { edges: rows, ...rest } = await connection(em, query, page);
      const edges = rows.map(({ cursor, node }) => ({ cursor, node: operationView(node) }));
      return { ...rest, nodes: edges.map(({ node }) => node), edges, watchCursor };
    });
  }

  /** Rights: viewer. Throws INVALID_ARGUMENT at once; what is wrong with `after` comes with the first event. */
  watch(ctx: RequestContext, { filter, after, snapshot }: OperationWatch): AsyncIterableIterator<LogEvent<OperationView>> {
    requireRole(ctx.identity, "viewer");
    const { nodeId, kind, active } = checkFilter(filter);
    const matches = (operation: OperationView) =>
      (nodeId === null || operation.nodeId === nodeId) &&
      (kind === null || operation.kind === kind) &&
      (active === null || (operation.finishedAt === null) === active);
    return this.#log.watch<OperationView>(OPERATION_STREAM, {
      after,
      snapshot: snapshot ?? false,
      matches,
      bookmarks: true,
      signal: ctx.signal,
    });
  }
}

function checkFilter(raw: RawOperationFilter | null | undefined): {
  nodeId: string | null;
  kind: OperationKind | null;
  active: boolean | null;
} {
  return {
    nodeId: checkName("filter.nodeId", raw?.nodeId),
    kind: raw?.kind ? checkOneOf("filter.kind", raw.kind, OPERATION_KINDS) : null,
    active: raw?.active ?? null,
  };
}
