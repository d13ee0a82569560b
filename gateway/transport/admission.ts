import { FleetError } from "../../platform/errors/fleet-error.ts";
import { abortable } from "./deadline.ts";

/** Lets so many at a time pass, and so many wait. */
export class Admission {
  readonly #limit: number;
  readonly #maxWaiting: number;
  readonly #what: string;
  readonly #waiting: (() => void)[] = [];
  #inside = 0;

  constructor(what: string, limit: number, maxWaiting: number) {
    this.#what = what;
    this.#limit = limit;
    this.#maxWaiting = maxWaiting;
  }

  get inside(): number {
    return this.#inside;
  }

  /** Runs the work when it is its turn. Throws RESOURCE_EXHAUSTED where too many wait already, and the signal's reason where that aborts first. */
  async run<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    if (this.#inside >= this.#limit) await this.#turn(signal);
    else this.#inside += 1;
    try {
      return await work();
    } finally {
      this.#leave();
    }
  }

  /** The place is handed on to the next that waits, so that nobody slips in between. */
  #leave(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#inside -= 1;
  }

  async #turn(signal: AbortSignal): Promise<void> {
    if (this.#waiting.length >= this.#maxWaiting) {
      throw new FleetError("RESOURCE_EXHAUSTED", `Too many requests wait for ${this.#what}.`, { reason: "TooManyWaiting" });
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push(resolve);
    try {
      await abortable(promise, signal);
    } catch (error) {
      const place = this.#waiting.indexOf(resolve);
      if (place >= 0) this.#waiting.splice(place, 1);
      else this.#leave();
      throw error;
    }
  }
}
