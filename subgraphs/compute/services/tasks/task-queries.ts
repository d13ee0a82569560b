import { requireRole } from "../../../../platform/auth/identity.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import type { LogEvent } from "../../../kit/events/event.ts";
import type { EventLog } from "../../../kit/events/event-log.ts";
import { checkId, isStorable } from "../../../kit/input-checks.ts";
import { type Connection, type ConnectionArguments, connection } from "../../../kit/pagination.ts";
import type { Store } from "../../../kit/store/orm.ts";
import { Task } from "../../entities/task.ts";
import { checkTaskFilter, type RawTaskFilter, taskMatcher, taskQuery } from "./task-filter.ts";
import { taskNotFound } from "./task-requests.ts";
import { TASK_STREAM, type TaskView } from "./task-types.ts";
import { taskView } from "./task-view.ts";

export interface TaskList extends Connection<TaskView> {
  watchCursor: string;
}

export interface TaskWatch {
  filter?: RawTaskFilter | null;
  after?: string | null;
  snapshot?: boolean | null;
  bookmarks: boolean;
}

/** What can be read of tasks. */
export class TaskQueries {
  readonly #store: Store;
  readonly #log: EventLog;

  constructor(store: Store, log: EventLog) {
    this.#store = store;
    this.#log = log;
  }

  /** Rights: viewer. Ended ones too, while they are kept. Throws NOT_FOUND, naming `field`. */
  async get(ctx: RequestContext, id: string, field = "taskId"): Promise<TaskView> {
    requireRole(ctx.identity, "viewer");
    const [task] = await this.getMany(ctx, [checkId(field, id)]);
    if (!task) throw taskNotFound(id, field);
    return task;
  }

  /** In the order of the ids, null where there is none. Rights: viewer. */
  async getMany(ctx: RequestContext, ids: readonly string[]): Promise<Array<TaskView | null>> {
    requireRole(ctx.identity, "viewer");
    const found = await this.#store.read((em) => em.find(Task, { id: { $in: ids.filter(isStorable) } }));
    const views = new Map(found.map((task) => [task.id, taskView(task)]));
    return ids.map((id) => views.get(id) ?? null);
  }

  /** Newest first. Rights: viewer. */
  async list(ctx: RequestContext, rawFilter: RawTaskFilter | null | undefined, page: ConnectionArguments): Promise<TaskList> {
    requireRole(ctx.identity, "viewer");
    const where = taskQuery(checkTaskFilter(rawFilter));
    const watchCursor = await this.#log.cursor(TASK_STREAM);
    return this.#store.read(async (em) => {
      const query = { list: "tasks", entity: Task, where, sort: "createdAt" as const, descending: true };
      const { edges: rows, ...rest } = await connection(em, query, page);
      const edges = rows.map(({ cursor, node }) => ({ cursor, node: taskView(node) }));
      return { ...rest, nodes: edges.map(({ node }) => node), edges, watchCursor };
    });
  }

  /** Rights: viewer. Throws INVALID_ARGUMENT at once; what is wrong with `after` comes with the first event. */
  watch(ctx: RequestContext, { filter, after, snapshot, bookmarks }: TaskWatch): AsyncIterableIterator<LogEvent<TaskView>> {
    requireRole(ctx.identity, "viewer");
    const matches = taskMatcher(checkTaskFilter(filter));
    return this.#log.watch<TaskView>(TASK_STREAM, { after, snapshot: snapshot ?? false, matches, bookmarks, signal: ctx.signal });
  }
}
