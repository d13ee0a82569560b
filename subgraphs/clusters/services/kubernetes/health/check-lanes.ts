import { Semaphore } from "../../../../kit/semaphore.ts";

export interface LaneLimits {
  /** Checks at once, of each of the two kinds. */
  atOnce: number;
  /** A usual check that takes longer than this is waited for by nobody else, in milliseconds. */
  slowMs: number;
}

/**
 * Lets a few checks run at once, so that no number of clusters that hang delays the others: those that failed last time wait in a lane of their
 * own, and a check that is slow gives its place to the next one while it goes on to its deadline. With places for 8, 2 s and a deadline of 10 s
 * at most 8 + 8 + 32 checks are ever under way.
 */
export class CheckLanes {
  readonly #usual: Semaphore;
  readonly #doubtful: Semaphore;
  readonly #slowMs: number;

  constructor({ atOnce, slowMs }: LaneLimits) {
    this.#usual = new Semaphore(atOnce);
    this.#doubtful = new Semaphore(atOnce);
    this.#slowMs = slowMs;
  }

  /** Runs the check when it is its turn. Rejects with the signal's reason if that aborts before, and with what the check throws. */
  async run(doubtful: boolean, check: () => Promise<void>, signal: AbortSignal): Promise<void> {
    if (doubtful) return this.#doubtful.run(check, signal);
    let running: Promise<void> = Promise.resolve();
    await this.#usual.run(async () => {
      running = check();
      await settledWithin(running, this.#slowMs);
    }, signal);
    await running;
  }
}

/** Resolves when the work is done, however it ended, or after the time. */
async function settledWithin(work: Promise<unknown>, ms: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  work.then(
    () => resolve(),
    () => resolve(),
  );
  await promise;
  clearTimeout(timer);
}
