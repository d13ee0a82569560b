import type { FilterQuery } from "@mikro-orm/core";
import type { Node } from "../entities/node.ts";
import { statesOf } from "./availability.ts";
import type { NodeFilter, NodeView } from "./node-types.ts";

/** The filter as a query. */
export function filterQuery(filter: NodeFilter): FilterQuery<Node> {
  const conditions: Array<FilterQuery<Node>> = [{ deregisteredAt: filter.deregistered ? { $ne: null } : null }];
  for (const field of ["role", "status", "kind", "region", "zone"] as const) {
    if (filter[field] !== null) conditions.push({ [field]: filter[field] });
  }
  if (filter.availability !== null) {
    const { maintenance, statuses } = statesOf(filter.availability);
    conditions.push({ maintenance, status: { $in: [...statuses] } });
  }
  if (filter.name !== null) {
    // Hostnames hold letters, digits, hyphens and dots only: a name with anything else (such as % or _) is in none of them.
    conditions.push(/^[a-z0-9.-]+$/.test(filter.name) ? { hostname: { $like: `%${filter.name}%` } } : { id: { $in: [] } });
  }
  return { $and: conditions };
}

/** The filter for a watch, over what the log holds; null where everything matches. */
export function filterMatcher(filter: NodeFilter, nodeIds: readonly string[]): ((node: NodeView) => boolean) | undefined {
  const ids = nodeIds.length > 0 ? new Set(nodeIds) : null;
  const fields = (["role", "status", "kind", "availability", "region", "zone"] as const).filter((field) => filter[field] !== null);
  const { name } = filter;
  if (ids === null && fields.length === 0 && name === null) return undefined;
  return (node) =>
    (ids === null || ids.has(node.id)) &&
    fields.every((field) => node[field] === filter[field]) &&
    (name === null || node.hostname.includes(name));
}
