import type { InstanceState } from "./instance-types.ts";
import { type InstanceRecord, MAX_REVISION } from "./state-machine.ts";
import { MISSING } from "./state-table.ts";

/** What an agent says about one instance; its values are checked. */
export interface Observation {
  generation: number;
  /** Of what the agent was told last, and this is about. */
  revision: number;
  /** Nothing more is to be done for that revision. */
  settled: boolean;
  /** Null: one that this version does not know. */
  state: InstanceState | null;
  stateReason: string | null;
  message: string | null;
  activity: string | null;
  ipAddresses: string[];
  startedAt: Date | null;
  exitCode: number | null;
  made: boolean;
  nativeId: string | null;
}

/** What became of an observation: the instance's last trace is gone, the record has it now, or it is about another placement. */
export type Folded = "gone" | "taken" | "stale";

/** Activity alone is not stored more often than this, in milliseconds. */
const ACTIVITY_MS = 1_000;

const STABLE: ReadonlySet<InstanceState> = new Set(["RUNNING", "STOPPED", "SUSPENDED"]);
const ON_THE_WAY: ReadonlySet<InstanceState> = new Set(["CREATING", "STARTING", "STOPPING", "RESTARTING"]);
/** With these an instance in ERROR does not run any more, and nobody starts it by itself. */
const ENDED: ReadonlySet<string> = new Set(["CRASHED", "EXITED", "OUT_OF_MEMORY", "FAILED_TO_START", "LOST", MISSING]);

/**
 * Takes an observation into the record; pure but for that. A state counts only if it is about what was asked last: what the agent
 * saw before is out of date. Addresses and whether it exists count always.
 */
export function foldObservation(record: InstanceRecord, seen: Observation, now: Date): Folded {
  if (seen.generation !== record.generation || record.state === "DELETED") return "stale";
  if (seen.state === "DELETED" && record.desiredState === "DELETED") return "gone";
  takeRevision(record, seen.revision);
  record.made ||= seen.made;
  record.nativeId = seen.nativeId ?? record.nativeId;
  if (!sameList(record.ipAddresses, seen.ipAddresses)) record.ipAddresses = seen.ipAddresses;
  if (seen.revision < record.revision || seen.state === null) return "taken";
  if (seen.state === "DELETED") takeLoss(record);
  else takeState(record, seen, now);
  return "taken";
}

/** How far the agent is with what it was told. */
function takeRevision(record: InstanceRecord, seen: number): void {
  // It bears our mark, and its agent knows nothing of it: that has lost its disk, and is told again.
  if (seen === 0) record.appliedRevision = 0;
  else if (seen <= record.revision) record.appliedRevision = Math.max(record.appliedRevision, seen);
  else if (seen < MAX_REVISION) {
    // This database has forgotten what the agent was told (a restored backup). What is asked for now comes behind that.
    const isPending = record.appliedRevision < record.revision;
    record.revision = isPending ? seen + 1 : seen;
    if (!isPending) record.appliedRevision = seen;
  }
}

/** Removed by somebody who was not asked to, or by a deletion that this database has forgotten. */
function takeLoss(record: InstanceRecord): void {
  Object.assign(record, {
    state: "ERROR",
    stateReason: MISSING,
    errorMessage: "The host says that it was removed.",
    activity: null,
    ipAddresses: [],
    desiredState: "STOPPED",
  });
}

function takeState(record: InstanceRecord, seen: Observation, now: Date): void {
  const state = shownState(record, seen, seen.state as InstanceState);
  const onlyActivity =
    state === record.state && seen.stateReason === record.stateReason && seen.message === record.errorMessage && seen.activity !== null;
  record.state = state;
  record.stateReason = seen.stateReason;
  record.errorMessage = seen.message;
  record.exitCode = seen.exitCode;
  if (!sameTime(record.startedAt, seen.startedAt)) record.startedAt = seen.startedAt;
  if (!onlyActivity || now.getTime() - record.updatedAt.getTime() >= ACTIVITY_MS) record.activity = seen.activity;
  if (seen.settled) followState(record);
}

/** While the agent has not yet begun, or is between two steps, what was asked for stays visible. */
function shownState(record: InstanceRecord, seen: Observation, state: InstanceState): InstanceState {
  if (state === "ERROR") return "ERROR";
  if (record.desiredState === "DELETED") return "STOPPING";
  if (seen.settled) return state;
  if (record.state === "RESTARTING") return "RESTARTING";
  const notYetBegun = STABLE.has(state) && state !== record.desiredState;
  return notYetBegun && ON_THE_WAY.has(record.state) ? record.state : state;
}

/**
 * A guest that stopped by itself, or was started by hand on its host, is from then on what it became: nothing is done against it. The agent
 * does the same by itself, so that this is no new revision: one would be an order that may come late.
 */
function followState(record: InstanceRecord): void {
  if (record.desiredState === "DELETED") return;
  if (record.state === "RUNNING" || record.state === "STOPPED" || record.state === "SUSPENDED") record.desiredState = record.state;
  else if (record.state === "ERROR" && ENDED.has(record.stateReason ?? "")) record.desiredState = "STOPPED";
}

export function sameList(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((entry, index) => entry === b[index]);
}

function sameTime(a: Date | null, b: Date | null): boolean {
  return (a?.getTime() ?? null) === (b?.getTime() ?? null);
}
