import { FleetError } from "../../../../platform/errors/fleet-error.ts";

/** What is known of a run when its handler has returned or thrown. */
export interface RunState {
  readonly ended: boolean;
  readonly lost: boolean;
  readonly abandoned: boolean;
  readonly cancelled: boolean;
  readonly overdue: boolean;
}

export type Verdict =
  /** Stored already, or another run's to tell. */
  | { outcome: "SUCCEEDED" | "lost"; error: null }
  /** For another replica. */
  | { outcome: "released"; error: null }
  | { outcome: "postponed" | "FAILED" | "CANCELLED"; error: FleetError };

/** What may be different a moment later. */
const PASSING_CODES: ReadonlySet<string> = new Set(["UNAVAILABLE", "DEADLINE_EXCEEDED", "DRAINING"]);
/** Of the signal of a run whose time is over. */
export const OVERDUE = "TaskDeadline";
const PASSING_REASONS: ReadonlySet<string> = new Set(["WriteConflict", "TooManyCalls", "ChannelPoolFull"]);

/** What becomes of a task after one of its runs. */
export function judgeRun(run: RunState, failure: unknown, mustUndo: boolean): Verdict {
  if (run.ended) return { outcome: "SUCCEEDED", error: null };
  if (run.lost) return { outcome: "lost", error: null };
  if (run.abandoned) return { outcome: "released", error: null };
  const error = FleetError.from(failure);
  const passes = error.reason !== OVERDUE && (PASSING_CODES.has(error.code) || PASSING_REASONS.has(error.reason ?? ""));
  if (passes && (!run.overdue || mustUndo)) return { outcome: "postponed", error };
  if (run.cancelled) return { outcome: "CANCELLED", error: cancelled() };
  if (run.overdue) return { outcome: "FAILED", error: tooLate(error) };
  return { outcome: "FAILED", error };
}

/** Whole milliseconds before the next try, after that many failures in a row: doubled each time, varied by half, so that replicas do not meet again. */
export function pauseMs(failures: number, firstMs: number, longestMs: number): number {
  return Math.ceil(Math.min(longestMs, firstMs * 2 ** Math.min(failures, 30)) * (0.5 + Math.random() / 2));
}

export function cancelled(): FleetError {
  return new FleetError("CANCELLED", "The task was cancelled.", { reason: "TaskCancelled" });
}

function tooLate(last: FleetError): FleetError {
  const why = last.reason === OVERDUE || last.code === "CANCELLED" ? "" : ` The last try: ${last.message}`;
  return new FleetError("DEADLINE_EXCEEDED", `The task did not end within its time.${why}`, { reason: OVERDUE, cause: last.cause });
}
