import { FleetError } from "../../platform/errors/fleet-error.ts";
import { InstanceType } from "../../schema/generated/proto/hypervisor/v1/compute.ts";
import type { InstanceDriver, NativeInstance } from "../drivers/instance-driver.ts";
import { waitAtMost } from "../libvirt/wait.ts";
import type { InstanceRecord } from "./take-desired.ts";

const FIND_MS = 20_000;

/** What was found of an instance, and by whom. */
export interface Found {
  driver: InstanceDriver;
  native: NativeInstance;
}

/** The drivers of one host. */
export class HostDrivers {
  readonly all: readonly InstanceDriver[];

  constructor(drivers: readonly InstanceDriver[]) {
    this.all = drivers;
  }

  /** Those that may have something of an instance: of its type, or all where that is not known. */
  of(type: InstanceType): InstanceDriver[] {
    if (type === InstanceType.UNSPECIFIED) return [...this.all];
    return this.all.filter(({ types }) => types.includes(type));
  }

  /** Null where there is nothing of it. Throws UNAVAILABLE where that cannot be told now. */
  async find({ desired, progress }: InstanceRecord, signal: AbortSignal): Promise<Found | null> {
    const { instanceId, type } = desired;
    let away: unknown = null;
    for (const driver of this.of(type)) {
      try {
        const native = await findBy(driver, instanceId, progress.nativeId, progress.made, signal);
        if (native !== null) return { driver, native };
      } catch (error) {
        away = error;
      }
    }
    if (away !== null) throw away;
    return null;
  }

  async close(): Promise<void> {
    await Promise.all(this.all.map((driver) => driver.close()));
  }
}

/** By what the host calls it, where that is known and still bears no other's mark; else by its mark. */
async function findBy(
  driver: InstanceDriver,
  instanceId: string,
  nativeId: string,
  made: boolean,
  signal: AbortSignal,
): Promise<NativeInstance | null> {
  if (nativeId !== "") {
    const native = await within(driver, signal, (limited) => driver.find({ nativeId }, limited));
    const isOthers = native?.mark != null && native.mark.instanceId !== instanceId;
    // One that is to be adopted is judged whatever its mark.
    if (native !== null && !(isOthers && made)) return native;
  }
  return within(driver, signal, (limited) => driver.find({ instanceId }, limited));
}

/** A call that a driver has to answer soon. Throws UNAVAILABLE where it does not. */
export async function within<T>(
  driver: InstanceDriver,
  signal: AbortSignal,
  call: (signal: AbortSignal) => Promise<T>,
  ms = FIND_MS,
): Promise<T> {
  const late = () => new FleetError("UNAVAILABLE", `${driver.name} does not answer.`, { reason: "DriverUnreachable" });
  const over = new AbortController();
  const onAbort = () => over.abort(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await waitAtMost(call(over.signal), ms, signal, late);
  } finally {
    signal.removeEventListener("abort", onAbort);
    over.abort(late());
  }
}
