import type { InstanceType } from "../../schema/generated/proto/hypervisor/v1/compute.ts";
import type { DeviceUsers } from "../hardware/device-users.ts";
import type { LibvirtFacts } from "../hardware/host-facts.ts";
import type { ConsoleDriver } from "./console-driver.ts";
import type { DeviceDriver } from "./device-driver.ts";
import type { ImageDriver } from "./image-driver.ts";
import type { InstancePlan, Ref } from "./instance-plan.ts";
import type { MigrationDriver } from "./migration-driver.ts";
import type { SnapshotDriver } from "./snapshot-driver.ts";
import type { StorageDriver } from "./storage-driver.ts";

export type { InstancePlan, Ref } from "./instance-plan.ts";

/** As the host's own software sees it now. */
export type NativeState = "RUNNING" | "PAUSED" | "STOPPING" | "STOPPED" | "FAILED";

/** What a driver finds on the host, whoever made it. */
export interface NativeInstance {
  /** The domain's UUID, or the container's full id. */
  nativeId: string;
  /** The mark that `create` or `adopt` left; null for what others made. */
  mark: InstanceMark | null;
  /** The domain's or the container's name. */
  name: string;
  type: InstanceType;
  state: NativeState;
  /** Why, in one word: REQUESTED, GUEST_SHUTDOWN, CRASHED, IO_ERROR, EXITED, OUT_OF_MEMORY, FAILED_TO_START, … */
  reason: string;
  /** For people; empty where the reason says it all. */
  message: string;
  exitCode: number | null;
  startedAt: Date | null;
  cpuCores: number;
  memoryBytes: number;
  /** As far as known now; drivers tell changes by `onChanged`. */
  ipAddresses: readonly string[];
}

export interface InstanceMark {
  instanceId: string;
  nodeId: string;
  generation: number;
}

/** Whether this driver can run instances of a type on this host, tried rather than guessed. */
export interface TypeSupport {
  type: InstanceType;
  supported: boolean;
  /** One word, where it is not: NoDriver, DriverUnreachable, NoEmulator, … */
  reason: string;
  /** Why, and what to install or start. */
  message: string;
  /** What runs it: "libvirt 9.0.0, QEMU 7.2.22, tcg". */
  engine: string;
}

/** Counters since the instance started, and sizes now. Null: not known. */
export interface InstanceSample {
  nativeId: string;
  cpuTimeNs: number;
  cpuCores: number;
  memoryUsageBytes: number | null;
  memoryCacheBytes: number | null;
  diskReadBytes: number;
  diskWriteBytes: number;
  networkRxBytes: number;
  networkTxBytes: number;
}

export interface DriverListener {
  /**
   * Something about this one may have changed: its state, its addresses, whether it exists. Ask `find`.
   * `reason`, where the driver knows more than `find` can tell later (why a domain stopped).
   */
  onChanged(nativeId: string): void;
  /** The host's software was reached (again), or lost. After `true`, ask `list`. */
  onAvailable(available: boolean): void;
}

/**
 * Runs instances by one software of the host (libvirt, a container engine). Called by the agent's instance keeper, one call at a time
 * per instance. Every method has a deadline of its own, takes an AbortSignal, may be repeated after a crash at any moment, and does nothing
 * where its work has been done. Failures are FleetErrors: UNAVAILABLE where the software is away (the call is repeated later),
 * FAILED_PRECONDITION or INVALID_ARGUMENT (with a reason and the name of the field) for what this host cannot do, which becomes the
 * instance's ERROR.
 */
export interface InstanceDriver {
  readonly name: string;
  readonly types: readonly InstanceType[];
  readonly available: boolean;
  /** What it can do beyond life cycles; null: that is not for this driver. */
  readonly consoles: ConsoleDriver | null;
  readonly images: ImageDriver | null;
  readonly storage: StorageDriver | null;
  readonly snapshots: SnapshotDriver | null;
  readonly migrations: MigrationDriver | null;
  readonly devices: DeviceDriver | null;
  /** Never throws: what cannot be asked is not supported, and says why. Cheap: probes are cached. */
  support(signal: AbortSignal): Promise<TypeSupport[]>;
  list(signal: AbortSignal): Promise<NativeInstance[]>;
  /** Null: there is none. */
  find(ref: Ref, signal: AbortSignal): Promise<NativeInstance | null>;
  /** Returns an undo. Listeners must not throw. */
  listen(listener: DriverListener): () => void;
  /**
   * Makes it, not started: fetches what it needs, and checks everything before anything is made. Undoes what it made where it fails.
   * After a crash, called again, or `remove`. `onActivity` is told what takes long.
   */
  create(plan: InstancePlan, onActivity: (activity: string) => void, signal: AbortSignal): Promise<NativeInstance>;
  start(ref: Ref, signal: AbortSignal): Promise<void>;
  /** Asks the guest to shut down (ACPI, SIGTERM) and returns at once; what becomes of it is told by `onChanged`. */
  requestStop(ref: Ref, signal: AbortSignal): Promise<void>;
  /** Powers off, or kills. */
  kill(ref: Ref, signal: AbortSignal): Promise<void>;
  /** `toDisk`: its memory is written to the host's disk and freed; `resume` goes on from there. FAILED_PRECONDITION where that cannot be. */
  suspend(ref: Ref, signal: AbortSignal, options?: { toDisk: boolean }): Promise<void>;
  resume(ref: Ref, signal: AbortSignal): Promise<void>;
  /** Makes CPUs, memory and disks what the plan says. */
  resize(plan: InstancePlan, signal: AbortSignal): Promise<void>;
  /**
   * Removes all that belongs to it, also what is half made: domain or container, disks, seed, filters. Stops it first. `keepDisks`: another host
   * runs it on the same ones.
   */
  remove(ref: Ref, signal: AbortSignal, options?: { keepDisks: boolean }): Promise<void>;
  /** Leaves the mark on one that others made. */
  adopt(nativeId: string, mark: InstanceMark, signal: AbortSignal): Promise<void>;
  /** Of those that run; one call for all. */
  sample(nativeIds: readonly string[], signal: AbortSignal): Promise<InstanceSample[]>;
  /** What the guests and the storage pools have of the host. */
  deviceUsers(signal: AbortSignal): Promise<DeviceUsers>;
  /** What its hypervisor says about itself; null for one that has none. */
  libvirtFacts(signal: AbortSignal): Promise<LibvirtFacts | null>;
  close(): Promise<void>;
}
