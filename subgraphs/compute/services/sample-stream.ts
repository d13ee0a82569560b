import type { StatsOutcome } from "./stats-reads.ts";

type Sample = StatsOutcome & { id: string };
type Result = IteratorResult<Sample, undefined>;

const DONE: Result = { done: true, value: undefined };

/** The readings of one watcher. Holds the newest that was not taken yet, and nothing else; ends at once with its signal. */
export class SampleStream implements AsyncIterableIterator<Sample, undefined> {
  readonly #interval: number;
  readonly #signal: AbortSignal;
  readonly #onEnd: () => void;
  readonly #leave = () => this.#finish();
  #newest: Sample | null = null;
  #next: number | null = null;
  #waiting: PromiseWithResolvers<Result> | null = null;
  #error: unknown = null;
  #ended = false;

  /** `interval` in ticks. `onEnd` is called once. */
  constructor(interval: number, signal: AbortSignal, onEnd: () => void) {
    this.#interval = interval;
    this.#signal = signal;
    this.#onEnd = onEnd;
    signal.addEventListener("abort", this.#leave, { once: true });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** The first tick of a stream is due, then each multiple of its interval: all of one interval are due together. */
  isDue(tick: number): boolean {
    return !this.#ended && (this.#next === null || tick >= this.#next);
  }

  offer(sample: Sample, tick: number): void {
    if (this.#ended) return;
    this.#next = (Math.floor(tick / this.#interval) + 1) * this.#interval;
    const waiting = this.#waiting;
    this.#waiting = null;
    if (waiting) waiting.resolve({ done: false, value: sample });
    else this.#newest = sample;
  }

  next(): Promise<Result> {
    if (this.#newest !== null) {
      const value = this.#newest;
      this.#newest = null;
      return Promise.resolve({ done: false, value });
    }
    if (this.#error !== null) {
      const error = this.#error;
      this.#error = null;
      return Promise.reject(error);
    }
    if (this.#ended) return Promise.resolve(DONE);
    this.#waiting = Promise.withResolvers();
    return this.#waiting.promise;
  }

  return(): Promise<Result> {
    this.#newest = null;
    this.#finish();
    return Promise.resolve(DONE);
  }

  /** The reader gets the error after what it has not read yet. */
  end(error: unknown): void {
    if (this.#ended) return;
    if (this.#waiting) {
      this.#waiting.reject(error);
      this.#waiting = null;
    } else this.#error = error;
    this.#finish();
  }

  #finish(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#signal.removeEventListener("abort", this.#leave);
    this.#waiting?.resolve(DONE);
    this.#waiting = null;
    this.#onEnd();
  }
}
