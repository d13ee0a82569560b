import type {
  DriverListener,
  InstanceDriver,
  InstanceMark,
  InstancePlan,
  InstanceSample,
  NativeInstance,
  Ref,
  TypeSupport,
} from "../../agent/drivers/instance-driver.ts";
import { type DeviceUsers, NO_USERS } from "../../agent/hardware/device-users.ts";
import { FleetError } from "../../platform/errors/fleet-error.ts";
import { InstanceType } from "../../schema/generated/proto/hypervisor/v1/compute.ts";

/** What is on a host in memory, beyond any agent's life; with what was done to it. */
export class MemoryHost {
  readonly natives = new Map<string, NativeInstance>();
  /** Disks: by instance. */
  readonly disks = new Set<string>();
  /** Guests that do not shut down when they are asked. */
  readonly deaf = new Set<string>();
  /** How often each was started. */
  readonly starts = new Map<string, number>();
  /** What must never happen, and did. */
  readonly mistakes: string[] = [];
  bootId = "boot-1";
  #count = 0;
  readonly #listeners = new Set<DriverListener>();

  listen(listener: DriverListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  add(native: Partial<NativeInstance>): NativeInstance {
    this.#count += 1;
    const made: NativeInstance = {
      nativeId: `native-${this.#count}`,
      mark: null,
      name: `by-hand-${this.#count}`,
      type: InstanceType.VM,
      state: "STOPPED",
      reason: "UNKNOWN",
      message: "",
      exitCode: null,
      startedAt: null,
      cpuCores: 1,
      memoryBytes: 2 ** 20,
      ipAddresses: [],
      ...native,
    };
    this.natives.set(made.nativeId, made);
    this.#tell(made.nativeId);
    return made;
  }

  change(nativeId: string, change: Partial<NativeInstance>): void {
    const native = this.natives.get(nativeId);
    if (native === undefined) return;
    this.natives.set(nativeId, { ...native, ...change });
    this.#tell(nativeId);
  }

  remove(nativeId: string): void {
    if (this.natives.delete(nativeId)) this.#tell(nativeId);
  }

  of(instanceId: string): NativeInstance | undefined {
    return [...this.natives.values()].find(({ mark }) => mark?.instanceId === instanceId);
  }

  /** The power fails: what ran is down, and nobody is told. */
  reboot(): void {
    this.bootId = `${this.bootId}+`;
    for (const [nativeId, native] of this.natives) {
      if (native.state !== "STOPPED") this.natives.set(nativeId, { ...native, state: "STOPPED", reason: "UNKNOWN", startedAt: null });
    }
  }

  tellAvailable(available: boolean): void {
    for (const listener of [...this.#listeners]) listener.onAvailable(available);
  }

  #tell(nativeId: string): void {
    for (const listener of [...this.#listeners]) listener.onChanged(nativeId);
  }
}

/** A moment at which a call may fail, hang or never come back. `point`: "create before", "create half", "create after", … */
export type Hook = (point: string, signal: AbortSignal) => Promise<void>;

/** Runs instances in memory: keeps their states as a driver's host does, and asks its hook at each moment of each call. */
export class MemoryDriver implements InstanceDriver {
  readonly name = "memory";
  readonly types: readonly InstanceType[];
  readonly consoles = null;
  readonly images = null;
  readonly storage = null;
  readonly snapshots = null;
  readonly migrations = null;
  readonly devices = null;
  available = true;
  readonly calls: string[] = [];
  readonly #host: MemoryHost;
  readonly #hook: Hook;

  constructor(
    host: MemoryHost,
    hook: Hook = async () => undefined,
    types: readonly InstanceType[] = [InstanceType.VM, InstanceType.MICROVM],
  ) {
    this.#host = host;
    this.#hook = hook;
    this.types = types;
  }

  async support(): Promise<TypeSupport[]> {
    return this.types.map((type) => ({ type, supported: this.available, reason: "", message: "", engine: "memory" }));
  }

  async list(signal: AbortSignal): Promise<NativeInstance[]> {
    await this.#moment("list", "before", signal);
    return [...this.#host.natives.values()];
  }

  async find(ref: Ref, signal: AbortSignal): Promise<NativeInstance | null> {
    await this.#moment("find", "before", signal);
    return this.#find(ref);
  }

  listen(listener: DriverListener): () => void {
    return this.#host.listen(listener);
  }

  async create(plan: InstancePlan, onActivity: (activity: string) => void, signal: AbortSignal): Promise<NativeInstance> {
    const { instanceId, nodeId, generation, type } = plan;
    const host = this.#host;
    await this.#moment("create", "before", signal);
    const there = host.of(instanceId);
    if (there) return there;
    onActivity("making its disk");
    host.disks.add(instanceId);
    try {
      await this.#moment("create", "half", signal);
    } catch (error) {
      host.disks.delete(instanceId);
      throw error;
    }
    if (host.of(instanceId)) host.mistakes.push(`${instanceId} was made twice`);
    const { cpuCores, memoryBytes } = plan.spec;
    const made = host.add({ mark: { instanceId, nodeId, generation }, name: instanceId, type, cpuCores, memoryBytes });
    await this.#moment("create", "after", signal);
    return made;
  }

  start(ref: Ref, signal: AbortSignal): Promise<void> {
    return this.#change("start", ref, signal, ({ nativeId, state, mark }) => {
      if (state !== "STOPPED" && state !== "FAILED") return;
      const id = mark?.instanceId ?? nativeId;
      this.#host.starts.set(id, (this.#host.starts.get(id) ?? 0) + 1);
      this.#host.change(nativeId, { state: "RUNNING", reason: "STARTED", startedAt: new Date() });
    });
  }

  requestStop(ref: Ref, signal: AbortSignal): Promise<void> {
    return this.#change("requestStop", ref, signal, ({ nativeId, state, mark }) => {
      if (state !== "RUNNING" || this.#host.deaf.has(mark?.instanceId ?? "")) return;
      this.#host.change(nativeId, { state: "STOPPING", reason: "REQUESTED" });
      setTimeout(() => {
        if (this.#host.natives.get(nativeId)?.state === "STOPPING") this.#stop(nativeId, "REQUESTED");
      }, 2);
    });
  }

  kill(ref: Ref, signal: AbortSignal): Promise<void> {
    return this.#change("kill", ref, signal, ({ nativeId, state }) => {
      if (state !== "STOPPED") this.#stop(nativeId, "DESTROYED");
    });
  }

  suspend(ref: Ref, signal: AbortSignal): Promise<void> {
    return this.#change("suspend", ref, signal, ({ nativeId, state }) => {
      if (state !== "RUNNING" && state !== "PAUSED")
        throw new FleetError("FAILED_PRECONDITION", "It does not run.", { reason: "InstanceNotRunning" });
      this.#host.change(nativeId, { state: "PAUSED", reason: "REQUESTED" });
    });
  }

  resume(ref: Ref, signal: AbortSignal): Promise<void> {
    return this.#change("resume", ref, signal, ({ nativeId, state }) => {
      if (state === "PAUSED") this.#host.change(nativeId, { state: "RUNNING", reason: "RESUMED" });
    });
  }

  resize(plan: InstancePlan, signal: AbortSignal): Promise<void> {
    const { cpuCores, memoryBytes } = plan.spec;
    return this.#change("resize", { instanceId: plan.instanceId }, signal, ({ nativeId }) =>
      this.#host.change(nativeId, { cpuCores, memoryBytes }),
    );
  }

  async remove(ref: Ref, signal: AbortSignal): Promise<void> {
    await this.#moment("remove", "before", signal);
    const native = this.#find(ref);
    const instanceId = "instanceId" in ref ? ref.instanceId : native?.mark?.instanceId;
    if (native !== null) this.#host.remove(native.nativeId);
    await this.#moment("remove", "half", signal);
    if (instanceId !== undefined) this.#host.disks.delete(instanceId);
    await this.#moment("remove", "after", signal);
  }

  adopt(nativeId: string, mark: InstanceMark, signal: AbortSignal): Promise<void> {
    return this.#change("adopt", { nativeId }, signal, () => this.#host.change(nativeId, { mark }));
  }

  async sample(nativeIds: readonly string[], signal: AbortSignal): Promise<InstanceSample[]> {
    await this.#moment("sample", "before", signal);
    const zero = {
      memoryUsageBytes: 1024,
      memoryCacheBytes: null,
      diskReadBytes: 0,
      diskWriteBytes: 0,
      networkRxBytes: 0,
      networkTxBytes: 0,
    };
    return nativeIds.flatMap((nativeId) => {
      const native = this.#host.natives.get(nativeId);
      // One of its cores is busy.
      return native ? [{ nativeId, cpuTimeNs: performance.now() * 1e6, cpuCores: native.cpuCores, ...zero }] : [];
    });
  }

  async deviceUsers(): Promise<DeviceUsers> {
    return NO_USERS;
  }

  async libvirtFacts(): Promise<null> {
    return null;
  }

  async close(): Promise<void> {}

  #find(ref: Ref): NativeInstance | null {
    return ("nativeId" in ref ? this.#host.natives.get(ref.nativeId) : this.#host.of(ref.instanceId)) ?? null;
  }

  #stop(nativeId: string, reason: string): void {
    this.#host.change(nativeId, { state: "STOPPED", reason, startedAt: null });
  }

  async #change(call: string, ref: Ref, signal: AbortSignal, effect: (native: NativeInstance) => void): Promise<void> {
    await this.#moment(call, "before", signal);
    const native = this.#find(ref);
    if (native === null) throw new FleetError("FAILED_PRECONDITION", "It is not there.", { reason: "InstanceMissing" });
    effect(native);
    await this.#moment(call, "after", signal);
  }

  async #moment(call: string, when: string, signal: AbortSignal): Promise<void> {
    if (!this.available) throw new FleetError("UNAVAILABLE", "memory cannot be reached.", { reason: "DriverUnreachable" });
    if (when === "before" && call !== "find" && call !== "list") this.calls.push(call);
    signal.throwIfAborted();
    await this.#hook(`${call} ${when}`, signal);
    signal.throwIfAborted();
  }
}
