export const EVACUATION_MODES = ["MIGRATE", "STOP"] as const;
export type EvacuationMode = (typeof EVACUATION_MODES)[number];

/** How far an operation is with an instance. */
export type EvacuatedState =
  /** It has still to go. */
  | "WAITING"
  /** Its migration is asked for, or under way. */
  | "MOVING"
  /** It was asked to stop. */
  | "STOPPING"
  /** It does not run here any more, by the operation or otherwise. */
  | "DONE"
  /** The operation stopped it. */
  | "STOPPED"
  /** The operation started it again, or left it as others wanted it since. */
  | "RESTORED"
  /** See its reason. */
  | "GIVEN_UP";

export interface Evacuation {
  nodeId: string;
  operationId: string;
  mode: EvacuationMode;
  /** Migrations at once. */
  maxParallel: number;
  /** Who asked for it. */
  requestedBy: string;
  /** Nothing is begun, and what can be cancelled is. */
  cancel: boolean;
}

export interface EvacuationFailure {
  instanceId: string;
  name: string;
  reason: string;
  message: string;
}

export interface EvacuationProgress {
  total: number;
  done: number;
  underWay: number;
  /** Still here, and not given up. */
  remaining: number;
  failures: EvacuationFailure[];
}

export interface InstanceCounts {
  managed: number;
  /** Managed ones that run, are suspended in memory, or are on their way from one state to another; and those that migrations bring. */
  running: number;
  unmanagedRunning: number;
}
