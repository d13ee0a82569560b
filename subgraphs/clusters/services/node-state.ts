import { CLOCK_SKEW, conditionsKey, mergeConditions, READY, readyFromStatus } from "./conditions.ts";
import type { Condition, ConditionReport, Heartbeat, NodeStatus, Resources } from "./node-types.ts";

/** What the last heartbeat said. Kept apart from what is shown, so that what was set by hand can hold against it. */
export type Reported = { status: NodeStatus; conditions: ConditionReport[] };

/**
 * Whether somebody vouches for the node: none before the first heartbeat (and for a node that was only registered by hand),
 * running from a heartbeat on, expired when nothing was heard for the lease's time.
 */
export type LeaseState = "none" | "running" | "expired";

/** The part of a node that heartbeats, leases and hands change. */
export interface NodeState {
  status: NodeStatus;
  conditions: Condition[];
  allocated: Resources | null;
  reported: Reported | null;
  /** Set by updateNodeStatus; null again when a heartbeat reports another status than the heartbeat before it. */
  statusByHand: NodeStatus | null;
  lease: LeaseState;
  leaseExpiredAt: Date | null;
}

/** A heartbeat's news, told from what it repeats. */
export interface HeartbeatNews {
  status: boolean;
  conditions: boolean;
  allocated: boolean;
  /** The node had no running lease. */
  lease: boolean;
}

/** What is compared against each heartbeat; see `heartbeatNews`. */
export interface LastHeartbeat {
  status: NodeStatus | null;
  conditionsKey: string;
  allocated: Resources | null;
  lease: LeaseState;
}

export function lastHeartbeatOf(state: NodeState): LastHeartbeat {
  return {
    status: state.reported?.status ?? null,
    conditionsKey: conditionsKey(state.reported?.conditions ?? []),
    allocated: state.allocated,
    lease: state.lease,
  };
}

/** What is new in a heartbeat, or null: then it is a sign of life and nothing else. Empty conditions and no allocation say "as before". */
export function heartbeatNews(last: LastHeartbeat, heartbeat: Heartbeat): HeartbeatNews | null {
  const status = last.status !== heartbeat.status;
  const conditions = heartbeat.conditions.length > 0 && conditionsKey(heartbeat.conditions) !== last.conditionsKey;
  const allocated = heartbeat.allocated !== null && !sameResources(heartbeat.allocated, last.allocated);
  const lease = last.lease !== "running";
  return status || conditions || allocated || lease ? { status, conditions, allocated, lease } : null;
}

export function sameResources(a: Resources | null, b: Resources | null): boolean {
  if (a === null || b === null) return a === b;
  return a.cpuCores === b.cpuCores && a.memoryBytes === b.memoryBytes && a.diskBytes === b.diskBytes && a.gpuCount === b.gpuCount;
}

/** Takes a heartbeat into the node's state. A status set by hand holds until a heartbeat reports another than the heartbeat before it. */
export function applyHeartbeat(state: NodeState, heartbeat: Heartbeat, now: Date): void {
  const news = heartbeatNews(lastHeartbeatOf(state), heartbeat);
  if (news === null) return;
  if (news.status) state.statusByHand = null;
  if (news.allocated) state.allocated = heartbeat.allocated;
  if (news.conditions) {
    const gone = new Set(state.reported?.conditions.map((condition) => condition.type));
    for (const { type } of heartbeat.conditions) gone.delete(type);
    const kept = state.conditions.filter((condition) => !gone.has(condition.type));
    state.conditions = mergeConditions(kept, heartbeat.conditions.filter(isNotReady), now);
  }
  state.reported = {
    status: heartbeat.status,
    conditions: news.conditions ? heartbeat.conditions : (state.reported?.conditions ?? []),
  };
  state.status = state.statusByHand ?? heartbeat.status;
  state.lease = "running";
  state.leaseExpiredAt = null;
  const ready = readyCondition(state, state.reported);
  if (ready !== null) state.conditions = mergeConditions(state.conditions, [ready], now);
}

/** Null: it stays as it is, because a hand set it. */
function readyCondition(state: NodeState, reported: Reported): ConditionReport | null {
  const shown = state.conditions.find((condition) => condition.type === READY);
  if (state.statusByHand !== null) {
    return shown?.reason === LEASE_EXPIRED ? readyFromStatus(state.statusByHand, SET_BY_HAND, "An administrator set this status.") : null;
  }
  return (
    reported.conditions.find((condition) => condition.type === READY) ??
    readyFromStatus(reported.status, "Heartbeat", `The agent reports ${reported.status}.`)
  );
}

function isNotReady(condition: ConditionReport): boolean {
  return condition.type !== READY;
}

const SET_BY_HAND = "SetByHand";
const LEASE_EXPIRED = "LeaseExpired";

/** A status by hand, with conditions that replace those of their type. */
export function applyByHand(state: NodeState, status: NodeStatus, conditions: ConditionReport[], by: string, now: Date): void {
  state.status = status;
  state.statusByHand = status;
  const ready = conditions.some((condition) => condition.type === READY)
    ? []
    : [readyFromStatus(status, SET_BY_HAND, `Set by ${by}; holds until a heartbeat reports another status than the one before it.`)];
  state.conditions = mergeConditions(state.conditions, [...conditions, ...ready], now);
}

/** Conditions that somebody else than the node's agent tells. They replace those of their type; heartbeats leave them. */
export function applyConditions(state: NodeState, conditions: ConditionReport[], now: Date): void {
  state.conditions = mergeConditions(state.conditions, conditions, now);
}

/** Nothing was heard for the lease's time. The node stays, and so does what was set by hand, for when it comes back. */
export function applyLeaseExpiry(state: NodeState, leaseTtlSeconds: number, now: Date): void {
  state.status = "UNKNOWN";
  state.lease = "expired";
  state.leaseExpiredAt = now;
  const ready = readyFromStatus("UNKNOWN", LEASE_EXPIRED, `No heartbeat for ${leaseTtlSeconds} s.`);
  state.conditions = mergeConditions(state.conditions, [ready], now);
}

/** Another agent is to report it: what the former one vouched for is over. */
export function applyReassignment(state: NodeState, now: Date): void {
  state.status = "UNKNOWN";
  state.lease = "expired";
  state.leaseExpiredAt = now;
  const ready = readyFromStatus("UNKNOWN", LEASE_EXPIRED, "The node was given to another agent, which has not reported yet.");
  state.conditions = mergeConditions(state.conditions, [ready], now);
}

/** Taken out of service: nothing vouches for it any more. */
export function applyDeregistration(state: NodeState, now: Date): void {
  resetState(state);
  state.status = "UNKNOWN";
  state.conditions = mergeConditions(state.conditions, [readyFromStatus("UNKNOWN", "Deregistered", "The node was deregistered.")], now);
}

/** As new: PENDING until its agent reports. */
export function applyAdmission(state: NodeState): void {
  resetState(state);
  state.status = "PENDING";
  state.conditions = [];
}

function resetState(state: NodeState): void {
  state.statusByHand = null;
  state.reported = null;
  state.lease = "none";
  state.leaseExpiredAt = null;
}

export function applyClockSkew(state: NodeState, skewSeconds: number | null, now: Date): void {
  const report: ConditionReport =
    skewSeconds === null
      ? { type: CLOCK_SKEW, status: "False", reason: "ClockInStep", message: "The host's clock agrees with the control plane's." }
      : { type: CLOCK_SKEW, status: "True", reason: "ClockOutOfStep", message: skewMessage(skewSeconds) };
  state.conditions = mergeConditions(state.conditions, [report], now);
}

function skewMessage(skewSeconds: number): string {
  const side = skewSeconds > 0 ? "ahead of" : "behind";
  return `The host's clock is ${Math.abs(skewSeconds).toFixed(1)} s ${side} the control plane's.`;
}
