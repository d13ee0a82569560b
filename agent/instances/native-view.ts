import { InstanceState } from "../../schema/generated/proto/hypervisor/v1/compute.ts";
import type { NativeInstance } from "../drivers/instance-driver.ts";
import type { Shown } from "./progress.ts";

export const REQUESTED = "REQUESTED";
export const CHANGED_OUTSIDE = "CHANGED_OUTSIDE";
export const MISSING = "MISSING";
export const HOST_REBOOTED = "HOST_REBOOTED";
export const STOP_TIMED_OUT = "STOP_TIMED_OUT";

/** Native reasons that only say that somebody did it; where that was not the agent, it was done outside. */
const BY_HAND: ReadonlySet<string> = new Set(["", REQUESTED, "DESTROYED", "STARTED", "RESUMED"]);
/** The guest is stuck, but its hypervisor process is there: it may go on by itself or by hand. */
const STUCK: ReadonlySet<string> = new Set(["IO_ERROR", "WATCHDOG", "MIGRATION_FAILED"]);

/** What tells one run from another; two that are alike may still be two where the host keeps no start times. */
export function fingerprint(native: NativeInstance | null): string {
  if (native === null) return "";
  const { nativeId, state, reason, exitCode, startedAt } = native;
  return JSON.stringify([nativeId, state, reason, exitCode, startedAt?.getTime() ?? null]);
}

/** It does not run: it can be started. */
export function isDown({ state }: NativeInstance): boolean {
  return state === "STOPPED" || state === "FAILED";
}

export function isStuck({ state, reason }: NativeInstance): boolean {
  return state === "FAILED" && STUCK.has(reason);
}

/** What something that the agent does not steer is shown as. */
export function stateOf(native: NativeInstance): InstanceState {
  switch (native.state) {
    case "RUNNING":
      return InstanceState.RUNNING;
    case "PAUSED":
      return InstanceState.SUSPENDED;
    case "STOPPING":
      return InstanceState.STOPPING;
    case "STOPPED":
      return InstanceState.STOPPED;
    case "FAILED":
      return InstanceState.ERROR;
  }
}

/** As the host says it, where the agent had no hand in it. */
export function showNative(native: NativeInstance): Shown {
  const reason = BY_HAND.has(native.reason) ? CHANGED_OUTSIDE : native.reason;
  return { state: stateOf(native), reason, message: native.message, exitCode: isDown(native) ? native.exitCode : null };
}

/** Whether a look at it would say the same. */
export function looksAlike(a: NativeInstance | null, b: NativeInstance | null): boolean {
  return fingerprint(a) === fingerprint(b) && JSON.stringify(a?.ipAddresses) === JSON.stringify(b?.ipAddresses);
}
