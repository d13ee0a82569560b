import { InstanceState } from "../../schema/generated/proto/hypervisor/v1/compute.ts";
import type { ApplyInstanceRequest } from "../../schema/generated/proto/hypervisor/v1/instances.ts";
import type { NativeInstance } from "../drivers/instance-driver.ts";
import { fingerprint, HOST_REBOOTED, REQUESTED } from "./native-view.ts";
import { type FailedStep, type Progress, sizeOf } from "./progress.ts";

/** What became of a driver's method. */
export interface Outcome {
  step: FailedStep;
  /** What was to be when it was called. */
  desired: ApplyInstanceRequest;
  /** Still so: no newer revision has come meanwhile. */
  isCurrent: boolean;
  /** What `create` gave. */
  nativeId?: string;
  /** Milliseconds since the epoch. */
  now: number;
}

/** Notes a step that was carried out. */
export function afterStep(before: Progress, { step, desired, isCurrent, nativeId, now }: Outcome): Progress {
  const progress = { ...before };
  switch (step) {
    case "create":
      return { ...progress, made: true, making: false, nativeId: nativeId ?? "", size: sizeOf(desired.spec), up: false };
    case "adopt":
      return { ...progress, made: true };
    case "start":
      progress.restarts = Math.max(progress.restarts, progress.starting?.restarts ?? 0);
      Object.assign(progress, { starting: null, killedAt: null, up: true });
      return isCurrent ? reached(progress, InstanceState.RUNNING) : progress;
    case "requestStop":
      return progress.stopping === null ? progress : { ...progress, stopping: { ...progress.stopping, askedAt: now } };
    case "kill":
      return { ...progress, killedAt: now };
    case "suspend":
      return isCurrent ? reached(progress, InstanceState.SUSPENDED) : progress;
    case "resume":
      return isCurrent && progress.goal === "RUNNING" && progress.stopping === null ? reached(progress, InstanceState.RUNNING) : progress;
    case "resize":
      return { ...progress, size: sizeOf(desired.spec) };
    case "remove":
      return { ...progress, made: false, making: false, leftover: false, nativeId: "", failure: null, up: false };
  }
}

export interface FailedOutcome extends Outcome {
  reason: string;
  message: string;
  /** What is on the host after it. */
  native: NativeInstance | null;
}

/** Notes a step that failed for good. */
export function afterFailure(before: Progress, { step, isCurrent, reason, message, native, now }: FailedOutcome): Progress {
  const progress = { ...before, starting: null };
  if (!isCurrent) return progress;
  const { stopping, goal } = progress;
  // Without a guest that can be asked, its time is over; in a stop that is not a deletion, who asked for it decides about force.
  if (step === "requestStop" && goal === "DELETED" && stopping !== null)
    return { ...progress, stopping: { ...stopping, until: now, timedOut: true } };
  if (step === "resume" && stopping !== null) return { ...progress, stopping: { ...stopping, until: now, timedOut: true } };
  if (step === "suspend" && native?.state === "RUNNING") return refusedChange(progress, "RUNNING", InstanceState.RUNNING, reason, message);
  if (step === "resume" && native?.state === "PAUSED")
    return refusedChange(progress, "SUSPENDED", InstanceState.SUSPENDED, reason, message);
  return { ...progress, failure: { step, reason, message, native: fingerprint(native) } };
}

function reached(progress: Progress, state: InstanceState): Progress {
  const { shown } = progress;
  const reason = shown.reason === HOST_REBOOTED ? HOST_REBOOTED : REQUESTED;
  return { ...progress, reached: true, shown: { state, reason, message: "", exitCode: null } };
}

/** It goes on as it is, and says why. */
function refusedChange(progress: Progress, goal: Progress["goal"], state: InstanceState, reason: string, message: string): Progress {
  return { ...progress, goal, reached: true, shown: { state, reason, message, exitCode: null } };
}
