import type { FilterQuery } from "@mikro-orm/core";
import { checkListLength, checkName, checkOneOf } from "../../../kit/input-checks.ts";
import type { Task } from "../../entities/task.ts";
import { TASK_KINDS, TASK_STATES, type TaskKind, type TaskState, type TaskView } from "./task-types.ts";

/** What a face hands over: its shape is right, its values are not checked. What is null or empty does not filter. */
export interface RawTaskFilter {
  ids?: readonly string[] | null;
  kind?: string | null;
  state?: string | null;
  /** True: only those that have not ended. */
  active?: boolean | null;
  instanceId?: string | null;
  nodeId?: string | null;
  groupId?: string | null;
}

export interface TaskFilter {
  /** Empty: all. */
  ids: readonly string[];
  kind: TaskKind | null;
  state: TaskState | null;
  active: boolean | null;
  instanceId: string | null;
  nodeId: string | null;
  groupId: string | null;
}

const MAX_IDS = 1_000;
const EQUAL_FIELDS = ["kind", "state", "instanceId", "nodeId", "groupId"] as const;

export function checkTaskFilter(raw: RawTaskFilter | null | undefined): TaskFilter {
  const ids = raw?.ids ?? [];
  checkListLength("filter.ids", ids, MAX_IDS);
  return {
    ids: ids.map((id) => checkName("filter.ids", id) ?? ""),
    kind: raw?.kind ? checkOneOf("filter.kind", raw.kind, TASK_KINDS) : null,
    state: raw?.state ? checkOneOf("filter.state", raw.state, TASK_STATES) : null,
    active: raw?.active ?? null,
    instanceId: checkName("filter.instanceId", raw?.instanceId),
    nodeId: checkName("filter.nodeId", raw?.nodeId),
    groupId: checkName("filter.groupId", raw?.groupId),
  };
}

export function taskQuery(filter: TaskFilter): FilterQuery<Task> {
  const conditions: Array<FilterQuery<Task>> = [];
  if (filter.ids.length > 0) conditions.push({ id: { $in: [...filter.ids] } });
  if (filter.active !== null) conditions.push({ finishedAt: filter.active ? null : { $ne: null } });
  for (const field of EQUAL_FIELDS) if (filter[field] !== null) conditions.push({ [field]: filter[field] });
  return { $and: conditions };
}

/** The filter for a watch, over what the log holds; undefined where everything matches. */
export function taskMatcher(filter: TaskFilter): ((task: TaskView) => boolean) | undefined {
  const { active } = filter;
  const ids = filter.ids.length > 0 ? new Set(filter.ids) : null;
  const fields = EQUAL_FIELDS.filter((field) => filter[field] !== null);
  if (ids === null && active === null && fields.length === 0) return undefined;
  return (task) =>
    (ids === null || ids.has(task.id)) &&
    (active === null || (task.finishedAt === null) === active) &&
    fields.every((field) => task[field] === filter[field]);
}
