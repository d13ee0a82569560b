import { waitAtMost } from "./wait.ts";

/** So many at once; the others wait for their turn, in order. */
export class Turns {
  readonly #places: number;
  readonly #maxWaiting: number;
  readonly #overloaded: () => Error;
  readonly #waiting = new Set<PromiseWithResolvers<void>>();
  #taken = 0;

  /** `overloaded` makes the error for one that finds too many waiting, or whose turn does not come in time. */
  constructor(places: number, maxWaiting: number, overloaded: () => Error) {
    this.#places = places;
    this.#maxWaiting = maxWaiting;
    this.#overloaded = overloaded;
  }

  /** Resolves when it is one's turn, with what gives the place back; to be called once. */
  async take(waitMs: number, signal: AbortSignal): Promise<() => void> {
    if (this.#taken < this.#places) this.#taken += 1;
    else await this.#wait(waitMs, signal);
    return () => this.#handOver();
  }

  async #wait(waitMs: number, signal: AbortSignal): Promise<void> {
    if (this.#waiting.size >= this.#maxWaiting) throw this.#overloaded();
    const turn = Promise.withResolvers<void>();
    this.#waiting.add(turn);
    try {
      await waitAtMost(turn.promise, waitMs, signal, this.#overloaded);
    } catch (error) {
      // Its turn may have come at the very moment that it gave up.
      if (!this.#waiting.delete(turn)) this.#handOver();
      throw error;
    }
  }

  /** The place goes to the next one without being free in between. */
  #handOver(): void {
    for (const next of this.#waiting) {
      this.#waiting.delete(next);
      next.resolve();
      return;
    }
    this.#taken -= 1;
  }
}
