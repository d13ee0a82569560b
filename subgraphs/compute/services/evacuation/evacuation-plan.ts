import type { InstanceState, InstanceType } from "../instance-types.ts";
import type { InstanceRecord } from "../state-machine.ts";
import type { TaskView } from "../tasks/task-types.ts";
import type { EvacuatedState, EvacuationMode } from "./evacuation-types.ts";

/** What is known of an instance that an operation has to do with. */
export type EvacuatedFacts = Pick<
  InstanceRecord,
  "nodeId" | "state" | "desiredState" | "stateReason" | "managed" | "revision" | "errorMessage"
> & {
  type: InstanceType;
  suspendToDisk: boolean;
};

/** What the operation has done with it so far. */
export interface EvacuatedItem {
  nodeId: string;
  state: EvacuatedState;
  tries: number;
  stopRevision: number | null;
  notBefore: number;
}

export type EvacuationStep =
  | { to: "same" }
  | { to: EvacuatedState; reason?: string; message?: string; pause?: boolean }
  /** To be begun, where there is room for one more. */
  | { to: "begin"; how: EvacuationMode };

/** Of the migration of an instance or its stop. */
export const MAX_TRIES = 3;

/** States in which a host going down would take something from an instance. */
const OCCUPYING: ReadonlySet<InstanceState> = new Set(["CREATING", "STARTING", "RUNNING", "RESTARTING", "STOPPING", "SUSPENDED"]);

/** Whether it runs, or stands still in its host's memory. */
export function occupies({ state, suspendToDisk }: Pick<EvacuatedFacts, "state" | "suspendToDisk">): boolean {
  return OCCUPYING.has(state) && !(state === "SUSPENDED" && suspendToDisk);
}

/** For SQL: what `occupies` says of the state alone. */
export const OCCUPYING_STATES: readonly InstanceState[] = [...OCCUPYING];

/**
 * What becomes of an instance next. Pure. `instance`: null where it is gone; `task`: of its migration, null without one. Nothing is lost by
 * asking again: what was begun is seen in the instance and the task.
 */
export function nextStep(
  item: EvacuatedItem,
  instance: EvacuatedFacts | null,
  task: Pick<TaskView, "state" | "errorReason" | "errorMessage"> | null,
  { mode, cancel, now }: { mode: EvacuationMode; cancel: boolean; now: number },
): EvacuationStep {
  const isHere = instance !== null && instance.nodeId === item.nodeId && occupies(instance);
  if (item.state === "RESTORED") return { to: "same" };
  if (item.state === "MOVING") return afterMove(item, isHere, task, cancel);
  if (item.state === "STOPPING") return afterStop(item, instance, isHere);
  if (item.state === "STOPPED" || item.state === "DONE")
    return isHere ? again(item, "StartedAgain", "It was started again meanwhile.") : { to: "same" };
  // One that was given up may be moved or stopped by hand.
  if (instance === null || !isHere) return { to: "DONE" };
  if (item.state === "GIVEN_UP" || cancel || item.notBefore > now) return { to: "same" };
  return begin(instance, mode);
}

function begin(instance: EvacuatedFacts, how: EvacuationMode): EvacuationStep {
  const { managed, state, type, desiredState } = instance;
  if (!managed) return giveUp("InstanceUnmanaged", "It was found on its host and is not touched: stop it there, or adopt it.");
  if (how === "STOP") {
    const canStop = state === "RUNNING" || state === "STARTING" || state === "RESTARTING" || state === "SUSPENDED";
    return canStop && desiredState !== "DELETED" ? { to: "begin", how } : { to: "same" };
  }
  if (type === "CONTAINER") return giveUp("ContainerNotMovable", "A container is not moved while it runs: stop it.");
  if (state === "SUSPENDED")
    return giveUp("InstanceSuspended", "What is suspended in memory is not moved: resume it, or suspend it to disk.");
  return state === "RUNNING" && desiredState === "RUNNING" ? { to: "begin", how } : { to: "same" };
}

function afterMove(
  item: EvacuatedItem,
  isHere: boolean,
  task: Pick<TaskView, "state" | "errorReason" | "errorMessage"> | null,
  cancel: boolean,
): EvacuationStep {
  if (task === null) return isHere ? { to: "same" } : { to: "DONE" };
  if (task.state === "SUCCEEDED") return { to: "DONE" };
  if (task.state === "FAILED") return again(item, task.errorReason ?? "MigrationFailed", task.errorMessage ?? "Its migration failed.");
  if (task.state !== "CANCELLED") return { to: "same" };
  return cancel ? { to: "WAITING" } : giveUp("TaskCancelled", "Its migration was cancelled.");
}

function afterStop(item: EvacuatedItem, instance: EvacuatedFacts | null, isHere: boolean): EvacuationStep {
  if (instance?.state === "ERROR") return giveUp(instance.stateReason ?? "StopFailed", instance.errorMessage ?? "It could not be stopped.");
  if (!isHere) return { to: "STOPPED" };
  const wantsToRun = instance?.desiredState === "RUNNING" && instance.revision !== item.stopRevision;
  return wantsToRun ? again(item, "StartedAgain", "It was started again meanwhile.") : { to: "same" };
}

/** Another try after a while, unless there were enough. */
export function again({ tries }: Pick<EvacuatedItem, "tries">, reason: string, message: string): EvacuationStep {
  return tries < MAX_TRIES ? { to: "WAITING", reason, message, pause: true } : giveUp(reason, message);
}

function giveUp(reason: string, message: string): EvacuationStep {
  return { to: "GIVEN_UP", reason, message };
}
