import { FleetError } from "../../platform/errors/fleet-error.ts";

/** What became of one entry of a batch. */
export type Outcome<R> = { value: R } | { error: unknown };

interface Waiting<T, R> {
  entry: T;
  resolve(value: R): void;
  reject(error: unknown): void;
}

export interface GroupCommitOptions<T, R> {
  /** Handles entries in one transaction, with one outcome for each, in their order. A throw means that nothing was stored. */
  run(entries: readonly T[]): Promise<Array<Outcome<R>>>;
  /** Entries in one transaction. */
  batch: number;
  /** Entries that wait; beyond it UNAVAILABLE. */
  queue: number;
}

/**
 * Stores what comes in while a transaction runs together in the next one: under load, many changes share the cost of a commit; alone,
 * a change waits for nobody. One batch runs at a time.
 */
export class GroupCommit<T, R> {
  readonly #options: GroupCommitOptions<T, R>;
  #waiting: Array<Waiting<T, R>> = [];
  #running = false;

  constructor(options: GroupCommitOptions<T, R>) {
    this.#options = options;
  }

  add(entry: T): Promise<R> {
    if (this.#waiting.length >= this.#options.queue) {
      return Promise.reject(new FleetError("UNAVAILABLE", "Too many changes are waiting: try again later.", { reason: "Overloaded" }));
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ entry, resolve, reject });
      if (!this.#running) void this.#drain();
    });
  }

  async #drain(): Promise<void> {
    this.#running = true;
    // What is asked for in the same turn goes together from the start.
    await Promise.resolve();
    while (this.#waiting.length > 0) await this.#runBatch(this.#waiting.splice(0, this.#options.batch));
    this.#running = false;
  }

  async #runBatch(batch: Array<Waiting<T, R>>): Promise<void> {
    try {
      const outcomes = await this.#options.run(batch.map(({ entry }) => entry));
      for (const [index, { resolve, reject }] of batch.entries()) {
        const outcome = outcomes[index];
        if (outcome && "value" in outcome) resolve(outcome.value);
        else reject(outcome?.error);
      }
    } catch (error) {
      // Of a database that is away there is nothing to learn by trying each.
      if (batch.length === 1 || error instanceof FleetError) {
        for (const { reject } of batch) reject(error);
        return;
      }
      // One entry that cannot be stored does not take the others with it.
      for (const waiting of batch) await this.#runBatch([waiting]);
    }
  }
}
