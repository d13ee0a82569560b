import type { FoundPrometheus } from "./cluster-types.ts";

/** A run that is under way will not be heard of any more: it ends as cancelled. What earlier ones found stays where `keepUrl`. */
export function withoutRun(prometheus: FoundPrometheus | null, message: string, keepUrl: boolean): FoundPrometheus | null {
  if (prometheus === null) return null;
  const { state, lastRun } = prometheus;
  const isRunning = state === "SEARCHING";
  return {
    ...prometheus,
    state: isRunning || !keepUrl ? "PENDING" : state,
    url: keepUrl ? prometheus.url : null,
    lastRun: isRunning && lastRun ? { ...lastRun, finishedAt: new Date().toISOString(), outcome: "CANCELLED", message } : lastRun,
  };
}
