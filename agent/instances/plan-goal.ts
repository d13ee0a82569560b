import { InstanceState, InstanceType } from "../../schema/generated/proto/hypervisor/v1/compute.ts";
import type { NativeInstance } from "../drivers/instance-driver.ts";
import { HOST_REBOOTED, isDown, isStuck, MISSING, REQUESTED, STOP_TIMED_OUT, showNative } from "./native-view.ts";
import { type Draft, next, observing, type Plan, settled, show } from "./plan-draft.ts";
import { planStop } from "./plan-stop.ts";
import { type Goal, sizeOf } from "./progress.ts";

/** For one that exists: on to its goal, or after what others made of it. */
export function planExisting(draft: Draft, native: NativeInstance): Plan {
  const { progress, desired } = draft;
  // One that is not to run is not restarted either.
  if (progress.goal !== "RUNNING") progress.restarts = Math.max(progress.restarts, desired.restarts);
  const isUnderWay = !progress.reached || progress.stopping !== null || desired.restarts > progress.restarts;
  const plan = isUnderWay ? approach(draft, native) : follow(draft, native);
  progress.up = !isDown(native) || isStuck(native);
  return plan;
}

function approach(draft: Draft, native: NativeInstance): Plan {
  switch (draft.progress.goal) {
    case "RUNNING":
      return isDown(native) ? startIt(draft, native) : keepItRunning(draft, native);
    case "SUSPENDED":
      return suspendIt(draft, native);
    default:
      return stopIt(draft, native);
  }
}

/** It was what it was to be. What it is now is so by itself or by others' hands, and is not fought. */
function follow(draft: Draft, native: NativeInstance): Plan {
  const { progress } = draft;
  if (native.state === "STOPPING") {
    progress.shown = showNative(native);
    return observing(draft);
  }
  if (goalLike(native) === progress.goal) {
    if (!isStillShown(draft, native)) progress.shown = showNative(native);
    return resizeOrSettle(draft, native);
  }
  if (!(isStuck(native) && progress.goal === "RUNNING")) progress.goal = goalLike(native);
  progress.shown = showNative(native);
  return settled(draft);
}

function goalLike(native: NativeInstance): Goal {
  if (isDown(native)) return "STOPPED";
  return native.state === "PAUSED" ? "SUSPENDED" : "RUNNING";
}

/** What was said last still holds: why it stopped is not known better now than it was then. */
function isStillShown({ progress: { shown, up } }: Draft, native: NativeInstance): boolean {
  if (!isDown(native)) return shown.state === showNative(native).state;
  return !up && (shown.state === InstanceState.STOPPED || shown.state === InstanceState.ERROR) && shown.reason !== MISSING;
}

function stopIt(draft: Draft, native: NativeInstance): Plan {
  const { progress } = draft;
  if (!isDown(native)) return planStop(draft, native, InstanceState.STOPPING, "kill");
  if (progress.killedAt === null && mayHaveLeftAProcess(draft, native)) {
    show(draft, InstanceState.STOPPING, REQUESTED);
    return next(draft, { kind: "kill" });
  }
  const { stopping, killedAt, up, shown } = progress;
  const endedByItself = up && stopping === null && killedAt === null;
  if (endedByItself) progress.shown = { ...showNative(native), state: InstanceState.STOPPED };
  else if (shown.state !== InstanceState.STOPPED) {
    const reason = stopping?.timedOut ? STOP_TIMED_OUT : REQUESTED;
    progress.shown = { state: InstanceState.STOPPED, reason, message: "", exitCode: native.exitCode };
  }
  Object.assign(progress, { reached: true, stopping: null, killedAt: null, starting: null });
  return resizeOrSettle(draft, native);
}

/** A guest that failed may, and a start that was interrupted. */
function mayHaveLeftAProcess({ progress: { starting, shown } }: Draft, { state }: NativeInstance): boolean {
  return starting !== null || (state === "FAILED" && shown.state !== InstanceState.STOPPED);
}

function startIt(draft: Draft, native: NativeInstance): Plan {
  const { progress, desired } = draft;
  const { starting } = progress;
  if (starting !== null && hasRunSince(native, starting.before)) {
    // The agent was killed between the start and its note of it, and the guest has ended since.
    Object.assign(progress, { reached: true, stopping: null, killedAt: null, starting: null });
    progress.restarts = Math.max(progress.restarts, starting.restarts);
    progress.up = true;
    return follow(draft, native);
  }
  const isRestart = desired.restarts > progress.restarts || progress.stopping !== null;
  progress.stopping = null;
  const { shown } = progress;
  const keepsState = shown.state === InstanceState.RESTARTING || shown.state === InstanceState.STARTING;
  if (!keepsState) show(draft, isRestart ? InstanceState.RESTARTING : InstanceState.STARTING, REQUESTED);
  if (native.state === "FAILED" && progress.killedAt === null) return next(draft, { kind: "kill" });
  if (progress.size !== sizeOf(desired.spec)) return next(draft, { kind: "resize" }, "resizing");
  progress.starting = { before: native.startedAt?.getTime() ?? null, restarts: desired.restarts };
  return next(draft, { kind: "start" });
}

/** Hosts that keep no start times leave it open: then it is started again. */
function hasRunSince({ startedAt, reason }: NativeInstance, before: number | null): boolean {
  return startedAt !== null && startedAt.getTime() !== before && reason !== "CREATED";
}

function keepItRunning(draft: Draft, native: NativeInstance): Plan {
  const { progress, desired } = draft;
  if (native.state === "RUNNING" && progress.starting !== null) {
    // The start was carried out, and not noted.
    progress.restarts = Math.max(progress.restarts, progress.starting.restarts);
    Object.assign(progress, { starting: null, stopping: null, killedAt: null });
  }
  const isRestart = desired.restarts > progress.restarts;
  const isGoingDown = native.state === "STOPPING" || (progress.stopping !== null && progress.stopping.askedAt !== null);
  if (isRestart || isGoingDown) return planStop(draft, native, InstanceState.RESTARTING, "kill");
  progress.stopping = null;
  if (native.state === "PAUSED") {
    show(draft, InstanceState.SUSPENDED, REQUESTED);
    return next(draft, { kind: "resume" });
  }
  const { reason } = progress.shown;
  show(draft, InstanceState.RUNNING, reason === HOST_REBOOTED ? HOST_REBOOTED : REQUESTED);
  progress.reached = true;
  return resizeOrSettle(draft, native);
}

function suspendIt(draft: Draft, native: NativeInstance): Plan {
  const { progress } = draft;
  if (native.state === "RUNNING") {
    if (progress.stopping !== null && progress.stopping.askedAt !== null) return planStop(draft, native, InstanceState.STOPPING, "kill");
    progress.stopping = null;
    show(draft, InstanceState.RUNNING, REQUESTED);
    return next(draft, { kind: "suspend" });
  }
  // There is nothing to suspend any more.
  Object.assign(progress, { reached: native.state !== "STOPPING", stopping: null, killedAt: null, starting: null });
  if (native.state !== "PAUSED") return follow(draft, native);
  show(draft, InstanceState.SUSPENDED, REQUESTED);
  return settled(draft);
}

/** A VM takes new sizes while it is down, a container at any time. */
function resizeOrSettle(draft: Draft, native: NativeInstance): Plan {
  const { desired, progress } = draft;
  const mayResize = isDown(native) || native.type === InstanceType.CONTAINER;
  if (!mayResize || progress.size === sizeOf(desired.spec)) return settled(draft);
  return next(draft, { kind: "resize" }, "resizing");
}
