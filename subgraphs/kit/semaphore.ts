/** Lets at most `permits` pieces of work run at once; the others wait in order. Whoever waits can leave by its signal. */
export class Semaphore {
  readonly #permits: number;
  readonly #waiting = new Set<() => void>();
  #taken = 0;

  constructor(permits: number) {
    this.#permits = permits;
  }

  get taken(): number {
    return this.#taken;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** Runs the work when there is a permit. Rejects with the signal's reason if it aborts before that. */
  async run<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    await this.#acquire(signal);
    try {
      return await work();
    } finally {
      this.#release();
    }
  }

  #acquire(signal: AbortSignal | undefined): Promise<void> | void {
    signal?.throwIfAborted();
    if (this.#taken < this.#permits) {
      this.#taken += 1;
      return;
    }
    return new Promise((resolve, reject) => {
      const admit = () => {
        signal?.removeEventListener("abort", leave);
        resolve();
      };
      const leave = () => {
        this.#waiting.delete(admit);
        reject(signal?.reason);
      };
      this.#waiting.add(admit);
      signal?.addEventListener("abort", leave, { once: true });
    });
  }

  /** A permit goes to the first in line without being free in between. */
  #release(): void {
    const [next] = this.#waiting;
    if (!next) {
      this.#taken -= 1;
      return;
    }
    this.#waiting.delete(next);
    next();
  }
}
