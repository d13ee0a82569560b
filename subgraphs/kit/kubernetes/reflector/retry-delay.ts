import { setTimeout as sleep } from "node:timers/promises";

export interface RetryLimits {
  firstRetryMs: number;
  longestRetryMs: number;
}

/** Pauses between attempts: doubled each time, half of it at random so that not all come back at once. */
export class RetryDelay {
  readonly #limits: RetryLimits;
  #failures = 0;

  constructor(limits: RetryLimits) {
    this.#limits = limits;
  }

  succeeded(): void {
    this.#failures = 0;
  }

  /** Not shorter than `atLeastMs`, which a server has asked for. Ends early with the signal, without an error. */
  async pause(signal: AbortSignal, atLeastMs = 0): Promise<void> {
    const { firstRetryMs, longestRetryMs } = this.#limits;
    const longest = Math.min(longestRetryMs, firstRetryMs * 2 ** Math.min(this.#failures, 30));
    this.#failures += 1;
    const ms = Math.max(Math.min(atLeastMs, longestRetryMs), longest * (0.5 + Math.random() / 2));
    await sleep(ms, undefined, { signal, ref: false }).catch(() => undefined);
  }
}
