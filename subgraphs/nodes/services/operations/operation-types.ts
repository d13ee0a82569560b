import type { RequestContext } from "../../../../platform/request-context.ts";
import type { PowerState } from "../../../../schema/generated/proto/hypervisor/v1/power.ts";

export const OPERATION_KINDS = ["DISABLE", "REBOOT", "SHUTDOWN", "DELETE"] as const;
/** What is done to a node. */
export type OperationKind = (typeof OPERATION_KINDS)[number];

export const OPERATION_STATES = ["RUNNING", "SUCCEEDED", "FAILED", "CANCELLED"] as const;
export type OperationState = (typeof OPERATION_STATES)[number];

export const OPERATION_PHASES = [
  "PREPARING",
  "EVACUATING",
  "GOING_DOWN",
  "WAITING_FOR_END",
  "WAITING_FOR_RETURN",
  "RESTORING",
  "REMOVING",
  "UNDOING",
] as const;
export type OperationPhase = (typeof OPERATION_PHASES)[number];

export const INSTANCE_POLICIES = ["REFUSE", "MIGRATE", "STOP"] as const;
/** What becomes of the node's instances. */
export type InstancePolicy = (typeof INSTANCE_POLICIES)[number];

/** The stream of the event log that operations are in; its objects are OperationViews. */
export const OPERATION_STREAM = "node-operations";

/** An instance that cannot be moved or stopped. */
export type OperationFailure = { instanceId: string; name: string; reason: string; message: string };

/** How far instances are taken away or stopped. */
export type OperationProgress = { total: number; done: number; underWay: number; remaining: number; failures: OperationFailure[] };

/** As GraphQL and the log show it. */
export type OperationView = {
  id: string;
  nodeId: string;
  hostname: string;
  kind: OperationKind;
  state: OperationState;
  /** Of one that has ended: the last. */
  phase: OperationPhase;
  instances: InstancePolicy;
  maxParallel: number;
  reason: string | null;
  /** Null: its instances are left alone. */
  progress: OperationProgress | null;
  /** What it waits for, for people. */
  waitingFor: string | null;
  errorCode: string | null;
  errorReason: string | null;
  errorMessage: string | null;
  cancelRequested: boolean;
  requestedBy: string;
  /** ISO 8601. */
  createdAt: string;
  finishedAt: string | null;
};

/** What the steps of an operation know of it and change. Times are milliseconds since 1970 by the database's clock. */
export interface OperationRecord {
  id: string;
  nodeId: string;
  kind: OperationKind;
  state: OperationState;
  phase: OperationPhase;
  instances: InstancePolicy;
  maxParallel: number;
  reason: string | null;
  requestedBy: string;
  /** For the host to go down, and to come back. */
  deadlineMs: number;
  cancelRequested: boolean;
  /** The boot that is to end. */
  bootId: string | null;
  /** The host may have been told to go down. */
  ordered: boolean;
  /** What the node's maintenance was before; null before that was looked at. */
  formerMaintenance: boolean | null;
  formerReason: string | null;
  progress: OperationProgress | null;
  waitingFor: string | null;
  /** What it ends with when all is undone. */
  outcome: "FAILED" | "CANCELLED" | null;
  errorCode: string | null;
  errorReason: string | null;
  errorMessage: string | null;
  /** The phase is over then. */
  phaseUntil: number;
  /** Since when the host has not answered. */
  silentSince: number | null;
  /** Steps in a row that somebody did not answer. */
  failures: number;
}

/** What a step leads to. Written at once, by the one that took it. */
export type OperationChange = Partial<OperationRecord> & { pauseMs: number };

export interface NodeMaintenance {
  maintenance: boolean;
  reason: string | null;
}

export interface NodeInstances {
  running: number;
  unmanagedRunning: number;
}

type Operation = Pick<OperationRecord, "id" | "nodeId" | "kind" | "instances" | "maxParallel" | "requestedBy" | "bootId" | "reason">;

/** Whom the steps ask. All is idempotent by the operation's id; failures are FleetErrors. */
export interface OperationPeers {
  /** Null: the node is no longer in the fleet. */
  maintenance(ctx: RequestContext, nodeId: string): Promise<NodeMaintenance | null>;
  setMaintenance(ctx: RequestContext, nodeId: string, maintenance: NodeMaintenance): Promise<void>;
  count(ctx: RequestContext, nodeId: string): Promise<NodeInstances>;
  evacuate(ctx: RequestContext, operation: Operation, cancel: boolean): Promise<OperationProgress>;
  restore(ctx: RequestContext, operation: Pick<Operation, "id" | "nodeId">): Promise<OperationProgress>;
  power(ctx: RequestContext, nodeId: string): Promise<PowerState>;
  /** Reboots or shuts down. */
  order(ctx: RequestContext, operation: Operation): Promise<void>;
  /** Takes the node out of the fleet: the end of a DELETE. */
  remove(ctx: RequestContext, operation: Operation): Promise<void>;
}
