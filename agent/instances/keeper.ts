import { FleetError, notFound } from "../../platform/errors/fleet-error.ts";
import type { Logger } from "../../platform/observability/log.ts";
import type { Resources } from "../../schema/generated/proto/hypervisor/v1/common.ts";
import { InstanceType } from "../../schema/generated/proto/hypervisor/v1/compute.ts";
import type { ApplyInstanceRequest, InstanceObservation } from "../../schema/generated/proto/hypervisor/v1/instances.ts";
import { pause } from "../control-plane/backoff.ts";
import type { NativeInstance } from "../drivers/instance-driver.ts";
import { Slots } from "../drivers/shared/slots.ts";
import { waitAtMost } from "../libvirt/wait.ts";
import { BootId } from "./boot-id.ts";
import { Census } from "./census.ts";
import type { Found, HostDrivers } from "./host-drivers.ts";
import { HostWatch } from "./host-watch.ts";
import type { InstanceStore } from "./instance-store.ts";
import { deletedObservation } from "./observation.ts";
import { RecordCell } from "./record-cell.ts";
import { type InstanceRecord, staleGeneration, type Tombstone } from "./take-desired.ts";
import { InstanceWorker, type Workshop } from "./worker.ts";

export interface KeeperOptions {
  nodeId: string;
  store: InstanceStore;
  drivers: HostDrivers;
  /** Of the host's boot; empty where that is not known. Throws UNAVAILABLE where it cannot be told now. */
  readBootId: () => Promise<string>;
  /** Whether instances that others made may be taken over. */
  adoption: boolean;
  log: Logger;
  /** A change to be told. */
  onObservation: (observation: InstanceObservation) => void;
  /** All is to be told anew. */
  onFullWanted: () => void;
  sweepMs?: number;
  now?: () => number;
}

const SWEEP_MS = 60_000;
const PRUNE_EVERY_MS = 3_600_000;
/** How long the first report waits for what is on the host. */
const FIRST_LOOK_MS = 10_000;
/** For drivers to undo what they began. */
const STOP_MS = 3000;
const MAX_INSTANCES = 3000;
const CREATIONS_AT_ONCE = 8;
const STEPS_AT_ONCE = 24;
const LOOKS_AT_ONCE = 32;

/** Keeps the instances of one node what they are to be, and knows all that its host has. */
export class InstanceKeeper {
  readonly #options: Required<KeeperOptions>;
  readonly #workers = new Map<string, InstanceWorker>();
  readonly #byNativeId = new Map<string, InstanceWorker>();
  readonly #census: Census;
  readonly #bootId: BootId;
  readonly #shop: Workshop;
  readonly #stopping = new AbortController();
  #watch: HostWatch | null = null;
  #stopped: Promise<void> | null = null;
  #background: Array<Promise<void>> = [];

  constructor(options: KeeperOptions) {
    this.#options = { sweepMs: SWEEP_MS, now: Date.now, ...options };
    const { nodeId, onObservation, drivers, readBootId, log, store } = options;
    const isKnown = (instanceId: string) => this.#workers.has(instanceId) || store.tombstone(instanceId) !== null;
    this.#bootId = new BootId(readBootId);
    this.#census = new Census({ nodeId, isKnown, onObservation });
    this.#shop = {
      drivers,
      bootId: () => this.#bootId.ask(),
      log,
      onObservation,
      now: this.#options.now,
      signal: this.#stopping.signal,
      slots: { create: new Slots(CREATIONS_AT_ONCE), quick: new Slots(STEPS_AT_ONCE), look: new Slots(LOOKS_AT_ONCE) },
      onNativeId: (nativeId, worker) => this.#claim(nativeId, worker),
      onGone: (worker) => this.#onGone(worker),
    };
    for (const stored of store.found) {
      if (!("record" in stored)) continue;
      const { desired } = stored.record;
      if (desired.nodeId === nodeId) this.#addWorker(new RecordCell(desired.instanceId, { kind: "record", ...stored }, store));
      else
        log.warn({ instanceId: desired.instanceId, of: desired.nodeId }, "an instance of a node that this host was before is left alone");
    }
  }

  /** Starts to work. Resolves once all was looked at, as far as that can be done soon. */
  async start(): Promise<void> {
    const { drivers, sweepMs, log, onFullWanted } = this.#options;
    const { signal, slots } = this.#shop;
    const watch = new HostWatch({
      ...{ drivers, sweepMs, log, onFullWanted, signal, looks: slots.look, census: this.#census },
      workerOf: (nativeId, instanceId) => this.#workerOf(nativeId, instanceId),
      // Another machine's, that is reached again, may have booted.
      onLost: () => this.#bootId.forget(),
      workersOf: ({ types }) => [...this.#workers.values()].filter(({ type }) => types.includes(type)),
    });
    this.#watch = watch;
    for (const worker of this.#workers.values()) worker.wake();
    this.#background = [watch.run(), this.#prune()];
    const first = Promise.all([watch.lookAtAll(), ...[...this.#workers.values()].map((worker) => worker.looked)]);
    const late = () => new FleetError("DEADLINE_EXCEEDED", "The first look at the host takes long.");
    await waitAtMost(first, FIRST_LOOK_MS, this.#stopping.signal, late).catch((error: unknown) =>
      log.warn({ err: error }, "the host's instances are told before all were looked at"),
    );
  }

  /**
   * Takes what an instance is to be. Resolves once that is on disk, with the highest revision that is known. Throws FAILED_PRECONDITION
   * (StaleGeneration, AdoptionNotAllowed), RESOURCE_EXHAUSTED (TooManyInstances), INVALID_ARGUMENT, UNAVAILABLE (StateNotSaved).
   */
  async apply(desired: ApplyInstanceRequest): Promise<number> {
    if (this.#stopping.signal.aborted) throw new FleetError("UNAVAILABLE", "The agent is stopping.");
    const { instanceId } = desired;
    const known = this.#workers.get(instanceId);
    const told = known === undefined ? this.#admit(desired) : desired;
    const worker = known ?? this.#newWorker(instanceId);
    try {
      return await worker.take(told);
    } finally {
      this.#dropIfGone(worker);
    }
  }

  /**
   * Does something with an instance between the steps of its life cycle. Throws NOT_FOUND where the host has no such instance, FAILED_PRECONDITION
   * (StaleGeneration) for another placement, UNAVAILABLE.
   */
  async exclusively<T>(
    { instanceId, generation }: { instanceId: string; generation: number },
    work: (found: Found, record: InstanceRecord) => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> {
    const worker = this.#workers.get(instanceId);
    if (worker === undefined) throw notFound("Instance", instanceId);
    return await worker.exclusively(generation, work, signal);
  }

  /** What the host has of an instance now. Throws NOT_FOUND, FAILED_PRECONDITION (InstanceMissing) where the host has nothing of it, UNAVAILABLE. */
  async find(instanceId: string, signal: AbortSignal): Promise<Found> {
    const record = this.#workers.get(instanceId)?.cell.record ?? null;
    if (record === null) throw notFound("Instance", instanceId);
    const found = await this.#options.drivers.find(record, signal);
    if (found !== null) return found;
    throw new FleetError("FAILED_PRECONDITION", "The host has nothing of the instance.", { reason: "InstanceMissing" });
  }

  /** Whether there is a record of it: also of one that is being removed. */
  holds(instanceId: string): boolean {
    const record = this.#workers.get(instanceId)?.cell.record ?? null;
    return record !== null;
  }

  /** The ids of those that are still to be made of an image that one of these is the name of. */
  waitingForImage(names: ReadonlySet<string>): string[] {
    const waits = ({ record }: RecordCell) =>
      record !== null && !record.progress.made && record.progress.goal !== "DELETED" && names.has(record.desired.spec?.image ?? "");
    return [...this.#workers.values()].filter(({ cell }) => waits(cell)).map(({ cell }) => cell.instanceId);
  }

  /** All that the node has. `tombstones`: those removed whose end is to be told, too. */
  observations(tombstones: readonly Tombstone[]): InstanceObservation[] {
    const managed = [...this.#workers.values()].flatMap((worker) => worker.observation() ?? []);
    return [...managed, ...this.#census.observations(), ...tombstones.map(deletedObservation)];
  }

  /** What the managed instances take of the host, whether they run or not. */
  allocated(): Resources {
    const sum = { cpuCores: 0, memoryBytes: 0, diskBytes: 0, gpuCount: 0 };
    for (const { cell } of this.#workers.values()) {
      const spec = cell.record?.desired.spec;
      if (spec === undefined) continue;
      sum.cpuCores += spec.cpuCores;
      sum.memoryBytes += spec.memoryBytes;
      for (const { sizeBytes } of spec.disks) sum.diskBytes += sizeBytes;
    }
    return sum;
  }

  /** Managed instances that run, by id; all of them where none is named. */
  running(instanceIds: readonly string[]): Map<string, NativeInstance> {
    const workers = instanceIds.length === 0 ? [...this.#workers.values()] : instanceIds.flatMap((id) => this.#workers.get(id) ?? []);
    const running = new Map<string, NativeInstance>();
    for (const { native, cell } of workers) {
      if (native && (native.state === "RUNNING" || native.state === "PAUSED")) running.set(cell.instanceId, native);
    }
    return running;
  }

  /** Breaks off what is under way; what is on disk is where the next start goes on. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    this.#watch?.close();
    this.#stopping.abort(new FleetError("CANCELLED", "The agent is stopping."));
    for (const worker of this.#workers.values()) worker.dispose();
    const ended = Promise.all([...this.#background, ...[...this.#workers.values()].map((worker) => worker.ended())]);
    const late = () => new FleetError("DEADLINE_EXCEEDED", "A driver did not stop in time.");
    await waitAtMost(ended, STOP_MS, undefined, late).catch((error: unknown) =>
      this.#options.log.warn({ err: error }, "instances are left as they are"),
    );
  }

  #workerOf(nativeId: string, instanceId: string | null): InstanceWorker | undefined {
    const byMark = () => {
      const worker = this.#workers.get(instanceId ?? "");
      return worker?.native && worker.native.nativeId !== nativeId ? undefined : worker;
    };
    return this.#byNativeId.get(nativeId) ?? byMark();
  }

  /** One without a record. Its mark, where the host has one, says what a removal may leave out. */
  #admit(desired: ApplyInstanceRequest): ApplyInstanceRequest {
    const { instanceId, generation, adoptNativeId, type } = desired;
    const found = this.#census.marked(instanceId);
    if (adoptNativeId !== "" && !this.#options.adoption && found === null) {
      throw new FleetError("FAILED_PRECONDITION", "This host's configuration (agent.adoption) does not allow that instances are adopted.", {
        reason: "AdoptionNotAllowed",
      });
    }
    if (this.#workers.size >= MAX_INSTANCES) {
      throw new FleetError("RESOURCE_EXHAUSTED", `An agent keeps at most ${MAX_INSTANCES} instances.`, { reason: "TooManyInstances" });
    }
    if (found === null) return desired;
    if (generation < found.generation) throw staleGeneration(found.generation);
    return type === InstanceType.UNSPECIFIED ? { ...desired, type: found.type } : desired;
  }

  #newWorker(instanceId: string): InstanceWorker {
    const tombstone = this.#options.store.tombstone(instanceId);
    const known = tombstone === null ? ({ kind: "nothing" } as const) : ({ kind: "tombstone", tombstone } as const);
    return this.#addWorker(new RecordCell(instanceId, known, this.#options.store));
  }

  #addWorker(cell: RecordCell): InstanceWorker {
    const worker = new InstanceWorker(cell, this.#shop);
    this.#workers.set(cell.instanceId, worker);
    return worker;
  }

  #claim(nativeId: string, worker: InstanceWorker): void {
    if (this.#byNativeId.get(nativeId) === worker) return;
    this.#byNativeId.set(nativeId, worker);
    this.#census.release(nativeId);
  }

  #onGone(worker: InstanceWorker): void {
    for (const [nativeId, one] of this.#byNativeId) if (one === worker) this.#byNativeId.delete(nativeId);
    this.#dropIfGone(worker);
  }

  /** Not while a message is on its way to the disk: there is one worker for an instance at any time. */
  #dropIfGone(worker: InstanceWorker): void {
    const { cell } = worker;
    if (cell.record !== null || cell.isBusy) return;
    worker.dispose();
    if (this.#workers.get(cell.instanceId) === worker) this.#workers.delete(cell.instanceId);
    if (cell.tombstone !== null) this.#options.onObservation(deletedObservation(cell.tombstone));
  }

  async #prune(): Promise<void> {
    const { signal } = this.#shop;
    while (!signal.aborted) {
      await pause(PRUNE_EVERY_MS, signal);
      if (!signal.aborted) await this.#options.store.prune();
    }
  }
}
