import { FleetError, notFound } from "../../platform/errors/fleet-error.ts";
import type { Logger } from "../../platform/observability/log.ts";
import { InstanceState, InstanceType } from "../../schema/generated/proto/hypervisor/v1/compute.ts";
import type { ApplyInstanceRequest, InstanceObservation } from "../../schema/generated/proto/hypervisor/v1/instances.ts";
import type { NativeInstance } from "../drivers/instance-driver.ts";
import { Slots } from "../drivers/shared/slots.ts";
import type { Found, HostDrivers } from "./host-drivers.ts";
import { type ManagedView, managedObservation, viewBeforeLook } from "./observation.ts";
import type { Plan } from "./plan-draft.ts";
import { planNext } from "./planner.ts";
import type { FailedStep, Shown } from "./progress.ts";
import type { RecordCell } from "./record-cell.ts";
import { RetryGate } from "./retry-gate.ts";
import { afterFailure, afterStep } from "./step-outcome.ts";
import { carryOut } from "./steps.ts";
import { type InstanceRecord, staleGeneration } from "./take-desired.ts";
import { Telling } from "./telling.ts";

/** What all workers of a node share. */
export interface Workshop {
  drivers: HostDrivers;
  /** How many creations, other steps and looks there may be at once. */
  slots: { create: Slots; quick: Slots; look: Slots };
  /** Of the host's boot; empty where that is not known. Throws UNAVAILABLE where it cannot be told now. */
  bootId: () => Promise<string>;
  now: () => number;
  log: Logger;
  /** Ends the work. */
  signal: AbortSignal;
  /** Something is to be told. */
  onObservation: (observation: InstanceObservation) => void;
  /** What the host calls it was learned. */
  onNativeId: (nativeId: string, worker: InstanceWorker) => void;
  /** Nothing is left of it. */
  onGone: (worker: InstanceWorker) => void;
}

/** The driver is away, or busy. */
const PASSING: ReadonlySet<string> = new Set(["UNAVAILABLE", "DRAINING", "CANCELLED", "CONFLICT"]);
/** Steps that take long enough to be broken off. */
const INTERRUPTIBLE: ReadonlySet<FailedStep> = new Set(["create"]);
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Brings one instance to what it is to be: looks, plans, notes, does one step, and looks again. */
export class InstanceWorker {
  readonly cell: RecordCell;
  readonly #shop: Workshop;
  readonly #gate = new RetryGate(() => this.wake());
  readonly #telling: Telling;
  #isDirty = false;
  #running: Promise<void> | null = null;
  #timer: NodeJS.Timeout | undefined;
  /** One at a time: a step of its own, or what is asked of it beside its life cycle. */
  readonly #turn = new Slots(1);
  #step: { kind: FailedStep; desired: ApplyInstanceRequest; overtaken: AbortController } | null = null;
  readonly #looked = Promise.withResolvers<void>();

  constructor(cell: RecordCell, shop: Workshop) {
    this.cell = cell;
    this.#shop = shop;
    this.#telling = new Telling(shop.onObservation);
  }

  get type(): InstanceType {
    return this.cell.record?.desired.type ?? InstanceType.UNSPECIFIED;
  }

  /** Settles with the first look at it, or the first failure to look. */
  get looked(): Promise<void> {
    return this.#looked.promise;
  }

  /** What was found last; undefined: it was not looked at. */
  get native(): NativeInstance | null | undefined {
    return this.#telling.view?.native;
  }

  /** As it is known now; null once nothing is left of it. */
  observation(): InstanceObservation | null {
    const { record } = this.cell;
    if (record === null) return null;
    return managedObservation(this.#telling.view ?? viewBeforeLook(record));
  }

  /** Takes what it is to be. Resolves once that is on disk, with the highest revision that is known. */
  async take(desired: ApplyInstanceRequest): Promise<number> {
    const { record, revision } = await this.cell.take(desired, this.#shop.now());
    // Whoever says it again may not have heard what became of it.
    if (record === null) this.#telling.again();
    else this.#redirect(desired);
    return revision;
  }

  /** Something may have changed. */
  wake(): void {
    if (this.#shop.signal.aborted) return;
    this.#isDirty = true;
    this.#running ??= this.#run().finally(() => {
      this.#running = null;
      if (this.#isDirty) this.wake();
    });
  }

  /**
   * Does what is not part of its life cycle (a snapshot, a device, a move) between its steps. While it lasts, none is made. Throws NOT_FOUND where
   * there is no such instance on the host, FAILED_PRECONDITION (StaleGeneration) for another placement.
   */
  async exclusively<T>(generation: number, work: (found: Found, record: InstanceRecord) => Promise<T>, signal: AbortSignal): Promise<T> {
    const { drivers } = this.#shop;
    const either = AbortSignal.any([signal, this.#shop.signal]);
    const use = async () => {
      const { record } = this.cell;
      if (record === null) throw notFound("Instance", this.cell.instanceId);
      if (record.desired.generation !== generation) throw staleGeneration(record.desired.generation);
      const found = await drivers.find(record, either);
      if (found === null) throw notFound("Instance", this.cell.instanceId);
      return await work(found, record);
    };
    try {
      return await this.#turn.use(use, either, () => undefined);
    } finally {
      this.wake();
    }
  }

  /** The driver is back: what failed for it is tried at once. */
  retryNow(): void {
    this.#gate.open();
    this.wake();
  }

  /** Resolves when nothing is under way; for after the signal. */
  async ended(): Promise<void> {
    while (this.#running !== null) await this.#running;
  }

  #redirect(desired: ApplyInstanceRequest): void {
    this.#gate.open();
    const step = this.#step;
    if (step !== null && INTERRUPTIBLE.has(step.kind)) {
      const isReplaced = desired.generation !== step.desired.generation;
      if (isReplaced || this.cell.record?.progress.goal === "DELETED")
        step.overtaken.abort(new FleetError("CANCELLED", "It is not wanted any more."));
    }
    this.wake();
  }

  async #run(): Promise<void> {
    while (this.#isDirty && !this.#shop.signal.aborted) {
      this.#isDirty = false;
      try {
        await this.#turn.use(
          () => this.#advance(),
          this.#shop.signal,
          () => undefined,
        );
      } catch (thrown) {
        if (this.#shop.signal.aborted) return;
        this.#waitForBetter(FleetError.from(thrown));
      }
    }
  }

  async #advance(): Promise<void> {
    const { record } = this.cell;
    if (record === null) return;
    const { drivers, slots, signal, now, bootId } = this.#shop;
    if (drivers.of(record.desired.type).length === 0) return this.#withoutDriver(record);
    const found = await slots.look.use(
      () => drivers.find(record, signal),
      signal,
      () => undefined,
    );
    const boot = await bootId();
    if (this.cell.record !== record) {
      this.#isDirty = true;
      return;
    }
    const native = found?.native ?? null;
    const plan = planNext({ desired: record.desired, progress: record.progress, native, now: now(), bootId: boot });
    if (native !== null) this.#shop.onNativeId(native.nativeId, this);
    this.#tell({ record: { ...record, progress: plan.progress }, shown: plan.progress.shown, native, ...plan });
    if (await this.cell.note(record, plan.progress)) await this.#follow(plan, found);
    else this.#isDirty = true;
  }

  async #follow({ step }: Plan, found: Found | null): Promise<void> {
    const { record } = this.cell;
    clearTimeout(this.#timer);
    if (record === null) return;
    switch (step.kind) {
      case "observe":
        return this.#gate.settled();
      case "wait":
        this.#gate.settled();
        this.#timer = setTimeout(() => this.wake(), Math.min(LONGEST_TIMER_MS, Math.max(1, step.until - this.#shop.now())));
        return;
      case "forget":
        return this.#forget(record);
      default:
        if (this.#gate.admits(step.kind)) await this.#carryOut(step.kind, record, found);
    }
  }

  async #carryOut(step: FailedStep, record: InstanceRecord, found: Found | null): Promise<void> {
    const { drivers, slots, signal } = this.#shop;
    const { desired } = record;
    const overtaken = new AbortController();
    this.#step = { kind: step, desired, overtaken };
    const either = AbortSignal.any([signal, overtaken.signal]);
    const onActivity = (activity: string) => {
      if (!signal.aborted) this.#telling.showActivity(activity);
    };
    const call = { step, drivers: drivers.of(desired.type), found, record, onActivity, signal: either };
    try {
      const onWait = () => onActivity("waiting for others to be done");
      const nativeId = await (step === "create" ? slots.create : slots.quick).use(() => carryOut(call), either, onWait);
      await this.cell.outcome(desired.generation, (current) =>
        afterStep(current.progress, { step, desired, isCurrent: isSame(current.desired, desired), nativeId, now: this.#shop.now() }),
      );
      this.#gate.succeeded();
    } catch (thrown) {
      if (!overtaken.signal.aborted || signal.aborted) await this.#failed(step, record, FleetError.from(thrown));
    } finally {
      this.#step = null;
      this.#telling.activityOver();
    }
    this.#isDirty = true;
  }

  /** Throws what may pass by itself; notes what does not. */
  async #failed(step: FailedStep, record: InstanceRecord, error: FleetError): Promise<void> {
    const { drivers, signal, log, now } = this.#shop;
    const { desired } = record;
    const mayPass = PASSING.has(error.code) || (error.code === "DEADLINE_EXCEEDED" && step !== "create" && this.#gate.mayTryAgain);
    if (signal.aborted || mayPass) throw error;
    log.warn({ instanceId: desired.instanceId, step, code: error.code, reason: error.reason, err: error.cause ?? error }, "a step failed");
    const native = (await drivers.find(record, signal))?.native ?? null;
    const { message } = error;
    const reason = error.reason ?? error.code;
    await this.cell.outcome(desired.generation, (current) =>
      afterFailure(current.progress, { step, desired, isCurrent: isSame(current.desired, desired), reason, message, native, now: now() }),
    );
    // A removal is never given up.
    if (this.cell.record?.progress.goal === "DELETED") this.#gate.closeForLong();
  }

  #waitForBetter(error: FleetError): void {
    this.#looked.resolve();
    const record = this.cell.record;
    if (record === null) return;
    const facts = { instanceId: record.desired.instanceId, code: error.code, reason: error.reason, err: error.cause ?? error };
    if (this.#gate.close() === 1) this.#shop.log.info(facts, "an instance waits for the host");
    else this.#shop.log.debug(facts, "an instance waits for the host");
    const view = this.#telling.view ?? viewBeforeLook(record);
    if (!view.settled || !isSame(view.record.desired, record.desired)) this.#tell({ ...view, activity: error.message });
  }

  async #withoutDriver(record: InstanceRecord): Promise<void> {
    const { made, making, goal } = record.progress;
    if (goal === "DELETED" && !made && !making) return this.#forget(record);
    const message = "This host has no driver for instances of this type.";
    const shown: Shown = { state: InstanceState.ERROR, reason: "NoDriver", message, exitCode: null };
    const progress = { ...record.progress, shown };
    this.#tell({ record: { ...record, progress }, shown, settled: true, activity: "", native: undefined });
    if (!(await this.cell.note(record, progress))) this.#isDirty = true;
  }

  async #forget(record: InstanceRecord): Promise<void> {
    if (!(await this.cell.bury(record, this.#shop.now()))) {
      this.#isDirty = true;
      return;
    }
    this.#telling.forget();
    this.#looked.resolve();
    this.#shop.log.info({ instanceId: record.desired.instanceId }, "an instance was removed");
    this.#shop.onGone(this);
  }

  #tell(view: ManagedView): void {
    this.#looked.resolve();
    this.#telling.tell(view);
  }

  /** Waits for nothing any more. */
  dispose(): void {
    clearTimeout(this.#timer);
    this.#telling.activityOver();
    this.#gate.dispose();
  }
}

function isSame(a: ApplyInstanceRequest, b: ApplyInstanceRequest): boolean {
  return a.generation === b.generation && a.revision === b.revision;
}
