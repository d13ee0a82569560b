import { FleetError } from "../../../platform/errors/fleet-error.ts";
import type { DesiredState, InstanceState } from "./instance-types.ts";
import { CONDITIONS, type InstanceRequest, MISSING, REQUESTS, STATE_TABLE, type StateFacts, type StateRow } from "./state-table.ts";

/** The part of an instance that requests and observations change. */
export interface InstanceRecord extends StateFacts {
  id: string;
  errorMessage: string | null;
  activity: string | null;
  nodeId: string;
  generation: number;
  revision: number;
  appliedRevision: number;
  restarts: number;
  stopTimeoutSeconds: number;
  nativeId: string | null;
  adoptNativeId: string | null;
  ipAddresses: string[];
  startedAt: Date | null;
  exitCode: number | null;
  updatedAt: Date;
}

/** How a stop, a restart or a deletion is carried out. */
export interface RequestOptions {
  force: boolean;
  /** 0: the agent's default. */
  stopTimeoutSeconds: number;
}

export const GENTLY: RequestOptions = { force: false, stopTimeoutSeconds: 0 };

/** Beyond it no agent has ever been; one that says so is not believed. */
export const MAX_REVISION = 2 ** 52;

/** Reasons that the control plane gives by itself; others come from the host. */
export const REQUESTED = "REQUESTED";
/** The node was deregistered: nobody tells what becomes of the instance. */
export const NODE_GONE = "NODE_GONE";
/** The agent refused to take what it was told. */
export const REFUSED = "REFUSED";

/** What the table says about a request; null where it is refused. */
export function rowFor(facts: StateFacts, request: InstanceRequest, force: boolean): StateRow | null {
  if ((request === "adopt") === facts.managed) return null;
  const fits = (row: StateRow) =>
    row.request === request && row.from === facts.state && row.when.every((condition) => CONDITIONS[condition](facts, force));
  return STATE_TABLE.find(fits) ?? null;
}

/** What may be asked now. */
export function allowedRequests(facts: StateFacts): string[] {
  return REQUESTS.flatMap((request) => {
    if (rowFor(facts, request, false) !== null) return [request];
    return rowFor(facts, request, true) === null ? [] : [`${request} (force)`];
  });
}

/**
 * Takes a request into the record: what is shown at once, and a new revision for the agent. False where there is nothing to do.
 * Throws FAILED_PRECONDITION with the state and what may be asked instead.
 */
export function applyRequest(record: InstanceRecord, request: InstanceRequest, options: RequestOptions = GENTLY): boolean {
  const row = rowFor(record, request, options.force);
  if (row === null) throw refusedRequest(record, request);
  if (row.desired === "nothing") return false;
  if (row.to !== "same") record.state = row.to;
  if (row.desired !== "same") record.desiredState = row.desired === "observed" ? observedDesire(record.state) : row.desired;
  record.stateReason = REQUESTED;
  record.errorMessage = null;
  record.activity = null;
  record.revision += 1;
  record.force = options.force;
  record.stopTimeoutSeconds = options.stopTimeoutSeconds;
  if (request === "restart") record.restarts += 1;
  if (request === "adopt") {
    record.managed = true;
    record.adoptNativeId = record.nativeId;
    record.made = true;
  }
  return true;
}

/** What one that was found on a host is to be from now on: what it is. */
function observedDesire(state: InstanceState): DesiredState {
  if (state === "SUSPENDED") return "SUSPENDED";
  return state === "STOPPED" || state === "STOPPING" || state === "ERROR" ? "STOPPED" : "RUNNING";
}

/** FAILED_PRECONDITION with all that a caller needs to go on. */
export function refusedRequest(record: InstanceRecord, request: InstanceRequest): FleetError {
  const { id, state, desiredState, stateReason } = record;
  const [reason, message] = whyRefused(record, request);
  const details = { instanceId: id, state, stateReason, desiredState, allowed: allowedRequests(record) };
  return new FleetError("FAILED_PRECONDITION", message, { reason, details });
}

function whyRefused(record: InstanceRecord, request: InstanceRequest): [reason: string, message: string] {
  const { managed, state, desiredState, stateReason } = record;
  if (state === "DELETED") return ["InstanceDeleted", "This instance was deleted."];
  if (!managed) return ["InstanceUnmanaged", "This instance was found on its host and is not touched unless an admin adopts it."];
  if (request === "adopt") return ["InstanceManaged", "This instance is managed already."];
  if (desiredState === "DELETED") return ["InstanceBeingDeleted", "This instance is being deleted."];
  if (state === "ERROR" && stateReason === MISSING)
    return ["InstanceMissing", "This instance is gone from its host and is not made again: delete it."];
  return ["InvalidState", `An instance that is ${state} cannot be asked to ${request}.`];
}
