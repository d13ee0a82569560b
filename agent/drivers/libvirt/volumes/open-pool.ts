import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import { precondition } from "../../shared/refusals.ts";
import { Slots } from "../../shared/slots.ts";
import { type PoolOptions, StoragePool } from "../storage/storage-pool.ts";

/** A pool of ours that is worked with: one thing at a time is done with a volume, and nothing while the pool is removed. */
export class OpenPool {
  readonly name: string;
  readonly directory: string;
  readonly store: StoragePool;
  readonly #turns = new Map<string, { turn: Slots; users: number }>();
  #closing = false;

  constructor(options: PoolOptions) {
    this.name = options.name;
    this.store = new StoragePool(options);
    this.directory = this.store.directory;
  }

  /** Does something with a volume, alone. UNAVAILABLE PoolBusy while the pool is removed. */
  async withVolume<T>(name: string, work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    if (this.#closing) throw new FleetError("UNAVAILABLE", `The pool ${this.name} is being removed.`, { reason: "PoolBusy" });
    const entry = this.#turns.get(name) ?? { turn: new Slots(1), users: 0 };
    this.#turns.set(name, entry);
    entry.users += 1;
    try {
      return await entry.turn.use(work, signal, () => undefined);
    } finally {
      entry.users -= 1;
      if (entry.users === 0) this.#turns.delete(name);
    }
  }

  /** What ends the pool. FAILED_PRECONDITION PoolInUse while something is done with one of its volumes. */
  async close(work: () => Promise<void>): Promise<void> {
    const [busy] = this.#turns.keys();
    if (busy !== undefined) throw precondition("PoolInUse", `Something is being done with the volume ${busy} of the pool ${this.name}.`);
    this.#closing = true;
    try {
      await work();
    } finally {
      this.#closing = false;
    }
  }
}
