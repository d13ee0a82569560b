import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { OperationChange, OperationPeers, OperationRecord, OperationState } from "./operation-types.ts";
import type { OperationsConfig } from "./operations-config.ts";

export interface StepParts {
  peers: OperationPeers;
  config: OperationsConfig;
  /** By the database's clock. */
  now: number;
}

/** What may be different a moment later. */
const PASSING: ReadonlySet<string> = new Set([
  "UNAVAILABLE",
  "DEADLINE_EXCEEDED",
  "RESOURCE_EXHAUSTED",
  "CONFLICT",
  "CANCELLED",
  "DRAINING",
  "INTERNAL",
]);

export function isPassing({ code }: FleetError): boolean {
  return PASSING.has(code);
}

/** The node's maintenance while the operation lasts bears this: who finds another reason there leaves it alone. */
export function ownReason({ id, kind, reason }: Pick<OperationRecord, "id" | "kind" | "reason">): string {
  if (kind === "DISABLE") return reason ?? "Disabled";
  const what = { REBOOT: "Reboot", SHUTDOWN: "Shutdown", DELETE: "Deletion" }[kind];
  return `${what} (${id})${reason === null ? "" : `: ${reason}`}`;
}

/** The end. Without an error, the one that is stored. */
export function ended(state: Exclude<OperationState, "RUNNING">, error?: FleetError): OperationChange {
  return { state, outcome: null, waitingFor: null, pauseMs: 0, ...(error && errorOf(error)) };
}

/** It comes to nothing, before anything was asked of the host: what was begun is undone first. Null: it was cancelled. */
export function failed(operation: OperationRecord, error: FleetError | null, config: OperationsConfig, now: number): OperationChange {
  const outcome = error === null ? "CANCELLED" : "FAILED";
  const why = error ?? new FleetError("CANCELLED", "The operation was cancelled.", { reason: "OperationCancelled" });
  // A node that was disabled stays so, whatever becomes of its instances.
  if (operation.kind === "DISABLE" && error !== null) return ended("FAILED", error);
  return { phase: "UNDOING", outcome, phaseUntil: now + config.restoreMs, pauseMs: 0, ...errorOf(why) };
}

/** Something runs that did not when the operation looked last. */
export function startedMeanwhile(operation: OperationRecord, config: OperationsConfig, now: number): OperationChange {
  if (operation.instances !== "REFUSE") return { phase: "EVACUATING", phaseUntil: now + config.evacuationMs, pauseMs: config.pollMs };
  const refusal = new FleetError("FAILED_PRECONDITION", "Instances were started on the node meanwhile.", { reason: "InstancesRunning" });
  return failed(operation, refusal, config, now);
}

function errorOf({ code, reason, message }: FleetError): Pick<OperationRecord, "errorCode" | "errorReason" | "errorMessage"> {
  return { errorCode: code, errorReason: reason ?? null, errorMessage: message.slice(0, 1000) };
}
