import { setTimeout as sleep } from "node:timers/promises";
import { DeadlockException, OptimisticLockError } from "@mikro-orm/sqlite";
import { FleetError } from "../../../platform/errors/fleet-error.ts";

const MAX_ATTEMPTS = 12;
const MAX_PAUSE_MS = 400;
/** Waiting for SQLite's one writer is waiting for a turn: bounded by time, in short steps, so that a busy neighbour does not always win. */
const MAX_BUSY_MS = 10_000;
const MAX_BUSY_PAUSE_MS = 20;

/**
 * SQLSTATEs of PostgreSQL that say "nothing happened, try again": serialization failure, deadlock, lock not available.
 */
const RETRYABLE_STATES = new Set(["40001", "40P01", "55P03"]);
/** Of PostgreSQL: the connection or the server is gone, or refuses new connections. */
const UNAVAILABLE_STATES = /^(08...|57P0[123]|53300)$/;
const UNAVAILABLE_CODES = new Set(["ECONNREFUSED", "ECONNRESET", "EPIPE", "ENOTFOUND", "EHOSTUNREACH", "ETIMEDOUT", "EAI_AGAIN"]);

/** What drivers say without a code, also of a store that was closed while somebody still used it. */
const UNAVAILABLE_MESSAGES =
  /Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error|Cannot use a pool after calling end|driver has already been destroyed|database connection is not open/;

export type StoreFault = "retry" | "busy" | "unavailable" | "timeout" | "other";

/** What a thrown value of MikroORM or a driver means for the caller. */
export function classify(error: unknown): StoreFault {
  for (const cause of causes(error)) {
    if (cause instanceof OptimisticLockError || cause instanceof DeadlockException) return "retry";
    const code = (cause as { code?: unknown }).code;
    if (typeof code === "string") {
      if (code.startsWith("SQLITE_BUSY")) return "busy";
      if (RETRYABLE_STATES.has(code)) return "retry";
      if (code === "57014") return "timeout";
      if (UNAVAILABLE_STATES.test(code) || UNAVAILABLE_CODES.has(code)) return "unavailable";
    }
    if (UNAVAILABLE_MESSAGES.test(cause.message)) return "unavailable";
  }
  return "other";
}

/** The error and what it wraps, at most five deep. (MikroORM's own exceptions carry the driver's `code`.) */
function causes(error: unknown): Error[] {
  const found: Error[] = [];
  for (let next = error; next instanceof Error && found.length < 5; ) {
    found.push(next);
    next = next.cause;
  }
  return found;
}

/**
 * Runs `attempt` again after a fault that is known to have changed nothing: a serialization failure, a deadlock or a lost optimistic
 * lock at most 12 times within about 3 s, with growing, random pauses; SQLite's "busy" for at most 10 s.
 * @throws FleetError CONFLICT when it never came through, UNAVAILABLE when the database is out of reach (a commit may then have
 * happened or not), DEADLINE_EXCEEDED after a statement time-out; anything else as it is.
 */
export async function withRetry<T>(attempt: () => Promise<T>): Promise<T> {
  const startedAt = performance.now();
  for (let conflicts = 0; ; ) {
    try {
      return await attempt();
    } catch (error) {
      const fault = classify(error);
      if (fault === "retry") conflicts += 1;
      else if (fault !== "busy") throw asFleetError(error, fault);
      if (conflicts >= MAX_ATTEMPTS || (fault === "busy" && performance.now() - startedAt > MAX_BUSY_MS)) {
        throw new FleetError("CONFLICT", "Others kept changing the same data; try again.", { reason: "WriteConflict", cause: error });
      }
      const maxPauseMs = fault === "busy" ? MAX_BUSY_PAUSE_MS : Math.min(MAX_PAUSE_MS, 4 * 2 ** conflicts);
      await sleep(Math.random() * maxPauseMs);
    }
  }
}

/** Faults of the database as coded errors; everything else unchanged. */
export function asFleetError(error: unknown, fault: StoreFault = classify(error)): unknown {
  if (error instanceof FleetError) return error;
  if (fault === "unavailable")
    return new FleetError("UNAVAILABLE", "The database is out of reach.", { reason: "DatabaseUnavailable", cause: error });
  if (fault === "timeout") {
    return new FleetError("DEADLINE_EXCEEDED", "The database took too long.", { reason: "StatementTimeout", cause: error });
  }
  return error;
}
