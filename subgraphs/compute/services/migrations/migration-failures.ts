import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { MigrationCheck, MigrationFailure } from "./migration-types.ts";

const PASSING: ReadonlySet<string> = new Set(["UNAVAILABLE", "DEADLINE_EXCEEDED", "DRAINING", "CANCELLED"]);

/** Nothing is left to be done for the migration: its task ends with the failure. */
export class Undone extends Error {
  readonly failure: FleetError;

  constructor(failure: FleetError) {
    super(failure.message);
    this.failure = failure;
  }
}

/** Whether it says only that somebody could not be asked, or did not answer. */
export function isPassing(error: unknown): boolean {
  return PASSING.has(FleetError.from(error).code);
}

/** FAILED_PRECONDITION (reason MigrationNotPossible) with each check that failed. */
export function notPossible(failed: readonly MigrationCheck[], targetNodeId: string | null): FleetError {
  const checks = failed.map(({ name, message }) => ({ name, message }));
  return new FleetError("FAILED_PRECONDITION", `The instance cannot be moved: ${failed.map(({ message }) => message).join(" ")}`, {
    reason: "MigrationNotPossible",
    details: { checks, ...(targetNodeId === null ? {} : { targetNodeId }) },
  });
}

/** FAILED_PRECONDITION (reason NodeGone): nobody can be asked. */
export function nodeGone(nodeId: string): FleetError {
  return new FleetError("FAILED_PRECONDITION", "The node has left the fleet: admit its host again.", {
    reason: "NodeGone",
    details: { nodeId },
  });
}

/** As it is stored while the migration is undone. */
export function failureOf(error: unknown): MigrationFailure {
  const { code, reason, message } = FleetError.from(error);
  return { code, reason: reason ?? null, message };
}

/** What the task ends with. What would be tried again is an end here: CONFLICT, so that whoever asked asks again. */
export function endOf(failure: MigrationFailure | null): FleetError {
  const { code, reason, message } = failure ?? { code: "INTERNAL" as const, reason: null, message: "" };
  const isRefusal = !PASSING.has(code) && code !== "INTERNAL";
  const undone = `The migration was undone; the instance is where it was. ${message}`;
  return new FleetError(isRefusal ? code : "CONFLICT", isRefusal ? message : undone, { reason: reason ?? "MigrationFailed" });
}

/** UNAVAILABLE: the task runs again, and says meanwhile whom it waits for. */
export function waitingFor(hostname: string, error: unknown): FleetError {
  const { message, reason } = FleetError.from(error);
  return new FleetError("UNAVAILABLE", `Waiting for ${hostname}: ${message}`, { reason: reason ?? "AgentUnreachable", cause: error });
}
