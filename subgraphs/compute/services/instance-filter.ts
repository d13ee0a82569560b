import { type FilterQuery, raw } from "@mikro-orm/core";
import type { Instance } from "../entities/instance.ts";
import type { InstanceFilter, InstanceView } from "./instance-types.ts";

/** The filter as a query. */
export function filterQuery(filter: InstanceFilter): FilterQuery<Instance> {
  const conditions: Array<FilterQuery<Instance>> = [];
  if (!filter.includeDeleted && filter.state !== "DELETED") conditions.push({ deletedAt: null });
  if (filter.ids.length > 0) conditions.push({ id: { $in: [...filter.ids] } });
  for (const field of ["type", "state", "nodeId", "managed"] as const) {
    if (filter[field] !== null) conditions.push({ [field]: filter[field] });
  }
  if (filter.name !== null) conditions.push(contains("name_folded", filter.name));
  for (const [key, value] of filter.labels) conditions.push(hasLabel(key, value));
  return { $and: conditions };
}

/** The filter for a watch, over what the log holds; undefined where everything matches. */
export function filterMatcher(filter: InstanceFilter): ((instance: InstanceView) => boolean) | undefined {
  const ids = filter.ids.length > 0 ? new Set(filter.ids) : null;
  const fields = (["type", "state", "nodeId", "managed"] as const).filter((field) => filter[field] !== null);
  const { name, labels } = filter;
  if (ids === null && fields.length === 0 && name === null && labels.length === 0) return undefined;
  return (instance) =>
    (ids === null || ids.has(instance.id)) &&
    fields.every((field) => instance[field] === filter[field]) &&
    (name === null || instance.name.toLowerCase().includes(name)) &&
    labels.every(([key, value]) => instance.labels[key] === value);
}

/** Names may hold what LIKE takes for its own. */
function contains(column: string, text: string): FilterQuery<Instance> {
  const pattern = `%${text.replaceAll(/[!%_]/g, "!$&")}%`;
  return { [raw((alias) => `${alias}.${column} like ? escape '!'`, [pattern])]: [] } as FilterQuery<Instance>;
}

function hasLabel(key: string, value: string): FilterQuery<Instance> {
  const sql = (alias: string) => `exists (select 1 from instance_label l where l.instance_id = ${alias}.id and l.key = ? and l.value = ?)`;
  return { [raw(sql, [key, value])]: [] } as FilterQuery<Instance>;
}
