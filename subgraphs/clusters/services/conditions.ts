import type { Condition, ConditionReport, ConditionStatus, NodeStatus } from "./node-types.ts";

export const READY = "Ready";
export const CLOCK_SKEW = "ClockSkew";

/** The conditions with these laid over them by type. One whose status stays keeps the time of its last transition. */
export function mergeConditions(current: readonly Condition[], reports: readonly ConditionReport[], now: Date): Condition[] {
  const merged = new Map(current.map((condition) => [condition.type, condition]));
  for (const { type, status, reason, message } of reports) {
    const before = merged.get(type);
    const lastTransitionTime = before?.status === status ? before.lastTransitionTime : now.toISOString();
    merged.set(type, { type, status, reason, message, lastTransitionTime });
  }
  return [...merged.values()].sort((a, b) => order(a.type) - order(b.type) || (a.type < b.type ? -1 : 1));
}

/** Ready comes first, the rest by name. */
function order(type: string): number {
  return type === READY ? 0 : 1;
}

/** What tells two reports apart: a message alone is no change, or a percentage in it would be an event with every heartbeat. */
export function conditionsKey(reports: readonly ConditionReport[]): string {
  if (reports.length === 0) return "";
  return reports
    .map(({ type, status, reason }) => `${type}\u0000${status}\u0000${reason}`)
    .sort()
    .join("\u0001");
}

/** The Ready condition of a node whose reporter gave none. */
export function readyFromStatus(status: NodeStatus, reason: string, message: string): ConditionReport {
  return { type: READY, status: readyStatus(status), reason, message };
}

function readyStatus(status: NodeStatus): ConditionStatus {
  if (status === "READY") return "True";
  return status === "NOT_READY" ? "False" : "Unknown";
}
