import { requireRole } from "../../../platform/auth/identity.ts";
import type { RequestContext } from "../../../platform/request-context.ts";
import type { LogEvent } from "../../kit/events/event.ts";
import type { EventLog } from "../../kit/events/event-log.ts";
import { checkId, isStorable } from "../../kit/input-checks.ts";
import { type Connection, type ConnectionArguments, connection } from "../../kit/pagination.ts";
import type { Store } from "../../kit/store/orm.ts";
import { Instance } from "../entities/instance.ts";
import { NodeReport } from "../entities/node-report.ts";
import { filterMatcher, filterQuery } from "./instance-filter.ts";
import { checkFilter, checkWatchFilter, type RawFilter } from "./instance-input.ts";
import { instanceNotFound } from "./instance-requests.ts";
import { INSTANCE_STREAM, type InstanceSecrets, type InstanceView } from "./instance-types.ts";
import { instanceView } from "./instance-view.ts";
import { type NodeInstanceTotals, readNodeTotals } from "./node-instance-totals.ts";
import type { TypeSupport } from "./report-input.ts";

export interface InstanceList extends Connection<InstanceView> {
  watchCursor: string;
}

export interface InstanceWatch {
  filter?: RawFilter | null;
  after?: string | null;
  snapshot?: boolean | null;
  bookmarks: boolean;
}

/** What can be read of instances. */
export class InstanceQueries {
  readonly #store: Store;
  readonly #log: EventLog;

  constructor(store: Store, log: EventLog) {
    this.#store = store;
    this.#log = log;
  }

  /** Rights: viewer. Deleted ones too, while they are kept. Throws NOT_FOUND, naming `field`. */
  async get(ctx: RequestContext, id: string, field = "instanceId"): Promise<InstanceView> {
    requireRole(ctx.identity, "viewer");
    const [instance] = await this.getMany(ctx, [checkId(field, id)]);
    if (!instance) throw instanceNotFound(id, field);
    return instance;
  }

  /** In the order of the ids, null where there is none. Rights: viewer. */
  async getMany(ctx: RequestContext, ids: readonly string[]): Promise<Array<InstanceView | null>> {
    requireRole(ctx.identity, "viewer");
    const found = await this.#store.read((em) => em.find(Instance, { id: { $in: ids.filter(isStorable) } }));
    const views = new Map(found.map((instance) => [instance.id, instanceView(instance)]));
    return ids.map((id) => views.get(id) ?? null);
  }

  /** Variables and user data, in the order of the ids. Rights: operator. */
  async secrets(ctx: RequestContext, ids: readonly string[]): Promise<Array<InstanceSecrets | null>> {
    requireRole(ctx.identity, "operator");
    const found = await this.#store.read((em) => em.find(Instance, { id: { $in: [...ids] } }, { fields: ["secrets"] }));
    const secrets = new Map(found.map((instance) => [instance.id, instance.secrets]));
    return ids.map((id) => secrets.get(id) ?? null);
  }

  /** By name, then id. Rights: viewer. */
  async list(ctx: RequestContext, rawFilter: RawFilter | null | undefined, page: ConnectionArguments): Promise<InstanceList> {
    requireRole(ctx.identity, "viewer");
    const filter = checkFilter(rawFilter);
    const watchCursor = await this.#log.cursor(INSTANCE_STREAM);
    return this.#store.read(async (em) => {
      const query = { list: "instances", entity: Instance, where: filterQuery(filter), sort: "name" as const };
      const { nodes, edges, ...rest } = await connection(em, query, page);
      const views = new Map(nodes.map((instance) => [instance.id, instanceView(instance)]));
      const view = ({ id }: Instance) => views.get(id) as InstanceView;
      return { ...rest, nodes: nodes.map(view), edges: edges.map(({ cursor, node }) => ({ cursor, node: view(node) })), watchCursor };
    });
  }

  /** Rights: viewer. Throws INVALID_ARGUMENT at once; what is wrong with `after` comes with the first event. */
  watch(ctx: RequestContext, { filter, after, snapshot, bookmarks }: InstanceWatch): AsyncIterableIterator<LogEvent<InstanceView>> {
    requireRole(ctx.identity, "viewer");
    const matches = filterMatcher(checkWatchFilter(filter));
    return this.#log.watch<InstanceView>(INSTANCE_STREAM, { after, snapshot: snapshot ?? false, matches, bookmarks, signal: ctx.signal });
  }

  /** What runs on nodes and what is reserved there, in the order of the ids. Rights: viewer. */
  async nodeTotals(ctx: RequestContext, nodeIds: readonly string[]): Promise<NodeInstanceTotals[]> {
    requireRole(ctx.identity, "viewer");
    return this.#store.read((em) => readNodeTotals(em, nodeIds));
  }

  /** What hosts say they can run, in the order of the ids; null where nothing was reported. Rights: viewer. */
  async typeSupport(ctx: RequestContext, nodeIds: readonly string[]): Promise<Array<TypeSupport[] | null>> {
    requireRole(ctx.identity, "viewer");
    const reports = await this.#store.read((em) => em.find(NodeReport, { nodeId: { $in: [...nodeIds] } }));
    const support = new Map(reports.map((report) => [report.nodeId, report.typeSupport]));
    return nodeIds.map((nodeId) => support.get(nodeId) ?? null);
  }
}
