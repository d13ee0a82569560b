import { FleetError } from "../../platform/errors/fleet-error.ts";
import type { InstanceDriver, InstanceMark, InstancePlan, NativeInstance, Ref } from "../drivers/instance-driver.ts";
import { waitAtMost } from "../libvirt/wait.ts";
import type { FailedStep } from "./progress.ts";
import type { InstanceRecord } from "./take-desired.ts";

const MINUTE_MS = 60_000;

/** How long a driver has, in milliseconds. Fetching an image is the long part of a creation. */
const DEADLINES_MS: Record<FailedStep, number> = {
  create: 60 * MINUTE_MS,
  adopt: MINUTE_MS,
  start: 3 * MINUTE_MS,
  requestStop: MINUTE_MS,
  kill: 2 * MINUTE_MS,
  // Memory that goes to the disk, or comes back from it.
  suspend: 35 * MINUTE_MS,
  resume: 35 * MINUTE_MS,
  resize: 10 * MINUTE_MS,
  remove: 10 * MINUTE_MS,
};
/** For a driver to come back once its signal has aborted. */
const GRACE_MS = 10_000;

export interface Call {
  step: FailedStep;
  /** Those that may have something of it. */
  drivers: readonly InstanceDriver[];
  /** Where it was found; null: nowhere. */
  found: { driver: InstanceDriver; native: NativeInstance } | null;
  record: InstanceRecord;
  onActivity: (activity: string) => void;
  signal: AbortSignal;
}

/** Calls the driver's method. Gives the native id of what was made. Throws the driver's error, or DEADLINE_EXCEEDED (reason TimedOut). */
export async function carryOut(call: Call): Promise<string | undefined> {
  const ms = DEADLINES_MS[call.step];
  const late = () => new FleetError("DEADLINE_EXCEEDED", `It was not done within ${ms / 1000} s.`, { reason: "TimedOut" });
  const stopped = new AbortController();
  const givenUp = new AbortController();
  // A driver that is told to stop has a while to undo what it began.
  const stop = (reason: FleetError) => {
    stopped.abort(reason);
    grace ??= setTimeout(() => givenUp.abort(reason), GRACE_MS);
  };
  let grace: NodeJS.Timeout | undefined;
  const deadline = setTimeout(() => stop(late()), ms);
  const onAbort = () => stop(FleetError.from(call.signal.reason));
  call.signal.addEventListener("abort", onAbort, { once: true });
  if (call.signal.aborted) onAbort();
  try {
    return await waitAtMost(invoke({ ...call, signal: stopped.signal }), Number.POSITIVE_INFINITY, givenUp.signal, late);
  } catch (error) {
    throw stopped.signal.aborted ? stopped.signal.reason : error;
  } finally {
    clearTimeout(deadline);
    clearTimeout(grace);
    call.signal.removeEventListener("abort", onAbort);
  }
}

async function invoke({ step, drivers, found, record, onActivity, signal }: Call): Promise<string | undefined> {
  const { desired } = record;
  const driver = found?.driver ?? drivers[0];
  if (driver === undefined) throw new FleetError("FAILED_PRECONDITION", "This host has no driver for it.", { reason: "NoDriver" });
  const ref: Ref = found === null ? { instanceId: desired.instanceId } : { nativeId: found.native.nativeId };
  switch (step) {
    case "create":
      return (await driver.create(planOf(record), onActivity, signal)).nativeId;
    case "adopt":
      await driver.adopt(record.progress.nativeId, markOf(record), signal);
      return undefined;
    case "resize":
      await driver.resize(planOf(record), signal);
      return undefined;
    case "remove":
      // What is half made has no native id, and may be any driver's.
      if (found !== null) await driver.remove(ref, signal, { keepDisks: desired.keepDisks });
      else
        await Promise.all(drivers.map((one) => one.remove({ instanceId: desired.instanceId }, signal, { keepDisks: desired.keepDisks })));
      return undefined;
    case "suspend":
      await driver.suspend(ref, signal, { toDisk: desired.suspendToDisk });
      return undefined;
    default:
      await driver[step](ref, signal);
      return undefined;
  }
}

function markOf({ desired }: InstanceRecord): InstanceMark {
  const { instanceId, nodeId, generation } = desired;
  return { instanceId, nodeId, generation };
}

/** Throws INVALID_ARGUMENT for a record without a specification. */
export function planOf(record: InstanceRecord): InstancePlan {
  const { name, type, spec, metadata } = record.desired;
  if (spec === undefined) throw new FleetError("INVALID_ARGUMENT", "It is not said what the instance is.", { details: { field: "spec" } });
  return { ...markOf(record), name, type, spec, labels: metadata?.labels ?? {}, annotations: metadata?.annotations ?? {} };
}
