import { FleetError } from "../../platform/errors/fleet-error.ts";
import type { Logger } from "../../platform/observability/log.ts";
import { Backoff, jittered, pause } from "../control-plane/backoff.ts";
import type { InstanceDriver, NativeInstance } from "../drivers/instance-driver.ts";
import type { Slots } from "../drivers/shared/slots.ts";
import type { Census } from "./census.ts";
import { type HostDrivers, within } from "./host-drivers.ts";
import { looksAlike } from "./native-view.ts";
import type { InstanceWorker } from "./worker.ts";

export interface HostWatchOptions {
  drivers: HostDrivers;
  census: Census;
  /** The worker of what bears this id or mark; undefined: it is not the agent's. */
  workerOf: (nativeId: string, instanceId: string | null) => InstanceWorker | undefined;
  /** All workers of a driver's types. */
  workersOf: (driver: InstanceDriver) => InstanceWorker[];
  /** A driver's software cannot be reached any more. */
  onLost: () => void;
  /** What a driver has has to be told anew. */
  onFullWanted: () => void;
  looks: Slots;
  sweepMs: number;
  log: Logger;
  signal: AbortSignal;
}

const LIST_MS = 60_000;
/** A list that failed is asked for again soon, so that what is on the host does not stay untold until the next sweep. */
const LIST_ATTEMPTS = 5;
const LIST_BACKOFF = { firstMs: 500, longestMs: 5000 };

/** Follows what happens on a host: by the drivers' events, and by a slow sweep for what no event told. */
export class HostWatch {
  readonly #options: HostWatchOptions;
  /** Native ids that are being looked at, and whether something changed since. */
  readonly #looking = new Map<string, boolean>();
  /** Of lists that are being read: what changed meanwhile. */
  readonly #lists = new Set<Set<string>>();
  readonly #undo: Array<() => void>;

  constructor(options: HostWatchOptions) {
    this.#options = options;
    this.#undo = options.drivers.all.map((driver) =>
      driver.listen({
        onChanged: (nativeId) => this.#onChanged(driver, nativeId),
        onAvailable: (available) => void this.#onAvailable(driver, available),
      }),
    );
  }

  /** Looks at all that the drivers have that can be reached now. */
  async lookAtAll(): Promise<void> {
    await Promise.all(this.#options.drivers.all.filter(({ available }) => available).map((driver) => this.#list(driver)));
  }

  /** Works until the signal aborts; never throws. */
  async run(): Promise<void> {
    const { signal, sweepMs } = this.#options;
    while (!signal.aborted) {
      await pause(jittered(sweepMs, 0.1), signal);
      if (!signal.aborted) await this.lookAtAll();
    }
  }

  close(): void {
    for (const undo of this.#undo.splice(0)) undo();
  }

  async #onAvailable(driver: InstanceDriver, available: boolean): Promise<void> {
    const { workersOf, onLost, onFullWanted, log } = this.#options;
    if (available) {
      log.info({ driver: driver.name }, "the host's software is there");
      for (const worker of workersOf(driver)) worker.retryNow();
      await this.#list(driver);
    } else {
      onLost();
      log.warn({ driver: driver.name }, "the host's software is away");
    }
    // What it can run has changed, too.
    onFullWanted();
  }

  #onChanged(driver: InstanceDriver, nativeId: string): void {
    for (const changed of this.#lists) changed.add(nativeId);
    const worker = this.#options.workerOf(nativeId, null);
    if (worker) {
      worker.wake();
      return;
    }
    if (this.#looking.has(nativeId)) this.#looking.set(nativeId, true);
    else void this.#look(driver, nativeId);
  }

  /** At something that is not known as the agent's. */
  async #look(driver: InstanceDriver, nativeId: string): Promise<void> {
    const { looks, signal, census, workerOf, log } = this.#options;
    do {
      this.#looking.set(nativeId, false);
      try {
        const find = () => within(driver, signal, (limited) => driver.find({ nativeId }, limited));
        const native = await looks.use(find, signal, () => undefined);
        if (native === null) census.gone(nativeId);
        else this.#sort(driver, native, workerOf(nativeId, native.mark?.instanceId ?? null));
      } catch (error) {
        // The next list tells.
        if (!signal.aborted) log.debug({ nativeId, err: error }, "something on the host could not be looked at");
      }
    } while (this.#looking.get(nativeId) === true && !signal.aborted);
    this.#looking.delete(nativeId);
  }

  #sort(driver: InstanceDriver, native: NativeInstance, worker: InstanceWorker | undefined): void {
    if (worker === undefined) this.#options.census.note(driver, native);
    else if (worker.native === undefined || !looksAlike(worker.native, native)) worker.wake();
  }

  async #list(driver: InstanceDriver): Promise<void> {
    const { signal } = this.#options;
    const backoff = new Backoff(LIST_BACKOFF);
    for (let attempt = 1; !(await this.#listOnce(driver)); attempt += 1) {
      if (attempt === LIST_ATTEMPTS) return;
      await pause(backoff.next(), signal);
      // When it is back, all is looked at anyway.
      if (signal.aborted || !driver.available) return;
    }
  }

  /** False: it failed, which is logged. */
  async #listOnce(driver: InstanceDriver): Promise<boolean> {
    const { signal, census, workerOf, workersOf, log } = this.#options;
    const changed = new Set<string>();
    this.#lists.add(changed);
    try {
      const natives = await within(driver, signal, (limited) => driver.list(limited), LIST_MS);
      const others: NativeInstance[] = [];
      const seen = new Set<InstanceWorker>();
      for (const native of natives) {
        const worker = workerOf(native.nativeId, native.mark?.instanceId ?? null);
        if (worker === undefined) others.push(native);
        else {
          seen.add(worker);
          this.#sort(driver, native, worker);
        }
      }
      census.replace(driver, others, changed);
      for (const worker of workersOf(driver)) if (!seen.has(worker) && worker.native) worker.wake();
      return true;
    } catch (thrown) {
      const error = FleetError.from(thrown);
      if (!signal.aborted)
        log.warn({ driver: driver.name, code: error.code, err: error.cause ?? error }, "the host's instances cannot be listed");
      return false;
    } finally {
      this.#lists.delete(changed);
    }
  }
}
