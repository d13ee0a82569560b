import { type InstanceState, InstanceType } from "../../schema/generated/proto/hypervisor/v1/compute.ts";
import type { NativeInstance } from "../drivers/instance-driver.ts";
import { REQUESTED } from "./native-view.ts";
import { type Draft, next, type Plan, type Step, show } from "./plan-draft.ts";
import { type Stopping, stopTimeoutMs } from "./progress.ts";

/** A guest that was still booting has not heard it the first time. Containers hear every signal, and some take a second one as an order to quit. */
const ASK_AGAIN_MS = 10_000;
/** Until one that was killed is gone; its end is an event. */
const KILL_AGAIN_MS = 3000;

/**
 * Brings down one that runs, is suspended or is on its way down: asks the guest, gives it its time, then carries out `atLast`. By force
 * that comes at once.
 */
export function planStop(draft: Draft, native: NativeInstance, state: InstanceState, atLast: "kill" | "remove"): Plan {
  const { desired, progress, now } = draft;
  show(draft, state, REQUESTED);
  const { killedAt } = progress;
  if (atLast === "kill" && killedAt !== null && now >= killedAt && now < killedAt + KILL_AGAIN_MS)
    return next(draft, { kind: "wait", until: killedAt + KILL_AGAIN_MS });
  if (desired.force) return next(draft, { kind: atLast });
  const stopping = begun(draft);
  progress.stopping = stopping;
  if (stopping.timedOut || now >= stopping.until) {
    progress.stopping = { ...stopping, timedOut: true };
    return next(draft, { kind: atLast });
  }
  // A guest whose CPUs stand still hears nothing.
  if (native.state === "PAUSED") return next(draft, { kind: "resume" }, "going on, to shut down");
  if (native.state === "RUNNING" && isToBeAsked(stopping, native.type, now)) return next(draft, { kind: "requestStop" });
  return next(draft, waiting(stopping, native, now));
}

/** A clock that was set back does not make the guest's time longer. */
function begun({ desired, progress, now }: Draft): Stopping {
  const latest = now + stopTimeoutMs(desired);
  const { askedAt, until, timedOut } = progress.stopping ?? { askedAt: null, until: latest, timedOut: false };
  return { askedAt: askedAt === null ? null : Math.min(askedAt, now), until: Math.min(until, latest), timedOut };
}

function isToBeAsked({ askedAt }: Stopping, type: InstanceType, now: number): boolean {
  return askedAt === null || (type !== InstanceType.CONTAINER && now >= askedAt + ASK_AGAIN_MS);
}

function waiting({ askedAt, until }: Stopping, { type, state }: NativeInstance, now: number): Step {
  if (type === InstanceType.CONTAINER || state !== "RUNNING") return { kind: "wait", until };
  return { kind: "wait", until: Math.min(until, (askedAt ?? now) + ASK_AGAIN_MS) };
}
