import { setTimeout as sleep } from "node:timers/promises";

export interface BackoffLimits {
  firstMs: number;
  longestMs: number;
}

/**
 * Pauses between attempts, drawn evenly from half of `firstMs` up to a ceiling that doubles with each attempt ("full jitter"), so that agents
 * which lost the control plane together do not come back together.
 */
export class Backoff {
  readonly #limits: BackoffLimits;
  readonly #random: () => number;
  #attempts = 0;

  /** `random` gives numbers from 0 up to 1, as Math.random does. */
  constructor(limits: BackoffLimits, random: () => number = Math.random) {
    this.#limits = limits;
    this.#random = random;
  }

  /** Milliseconds until the next attempt. */
  next(): number {
    const ceiling = Math.min(this.#limits.longestMs, this.#limits.firstMs * 2 ** Math.min(this.#attempts, 30));
    this.#attempts += 1;
    const floor = this.#limits.firstMs / 2;
    return floor + this.#random() * (ceiling - floor);
  }

  reset(): void {
    this.#attempts = 0;
  }
}

/** Within ±`share` of a time. */
export function jittered(ms: number, share: number, random: () => number = Math.random): number {
  return ms * (1 - share + 2 * share * random());
}

/** Sleeps by the monotonic clock; ends early, without an error, when the signal aborts. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await sleep(ms, undefined, { signal }).catch(() => undefined);
}
