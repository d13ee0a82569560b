import type { MonotonicClock } from "./lease-table.ts";

/**
 * Tells that this process stood still (stopped, swapped out, a blocked event loop): two looks at the clock lie further apart than they
 * should. Look often, from a timer and before each judgement.
 */
export class PauseDetector {
  readonly #pauseMs: number;
  readonly #clock: MonotonicClock;
  #lookedAt: number;

  constructor(pauseMs: number, clock: MonotonicClock) {
    this.#pauseMs = pauseMs;
    this.#clock = clock;
    this.#lookedAt = clock();
  }

  /** The length of a pause that just ended, in ms; else null. */
  look(): number | null {
    const now = this.#clock();
    const gap = now - this.#lookedAt;
    this.#lookedAt = now;
    return gap > this.#pauseMs ? gap : null;
  }
}
