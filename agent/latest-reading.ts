import { setTimeout as sleep } from "node:timers/promises";

/** What is read of a host again and again, by readers that cannot wait for a slow one: the newest reading that is there within a time. */
export class LatestReading<T> {
  readonly #read: () => Promise<T>;
  readonly #waitMs: number;
  #latest: T;
  #running: Promise<void> | null = null;

  /** `initial`: until the first reading is there. */
  constructor(read: () => Promise<T>, { initial, waitMs }: { initial: T; waitMs: number }) {
    this.#read = read;
    this.#latest = initial;
    this.#waitMs = waitMs;
  }

  /** Never throws: a reading that failed leaves the one before. */
  async get(): Promise<T> {
    this.#running ??= this.#read()
      .then(
        (reading) => {
          this.#latest = reading;
        },
        () => undefined,
      )
      .finally(() => {
        this.#running = null;
      });
    await Promise.race([this.#running, sleep(this.#waitMs, undefined, { ref: false })]);
    return this.#latest;
  }
}
