import { NODE_STATUSES, type NodeAvailability, type NodeStatus } from "./node-types.ts";

/** The operator's intent comes first; then a node is ONLINE while it is READY. */
export function availabilityOf(status: NodeStatus, maintenance: boolean): NodeAvailability {
  if (maintenance) return "MAINTENANCE";
  return status === "READY" ? "ONLINE" : "OFFLINE";
}

/** The same rule the other way round, for a query. */
export function statesOf(availability: NodeAvailability): { maintenance: boolean; statuses: readonly NodeStatus[] } {
  const maintenance = availability === "MAINTENANCE";
  return { maintenance, statuses: NODE_STATUSES.filter((status) => availabilityOf(status, maintenance) === availability) };
}
