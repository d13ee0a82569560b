import { waitAtMost } from "../../libvirt/wait.ts";

/** Lets so many work at a time; the others wait in the order in which they came. */
export class Slots {
  #free: number;
  readonly #waiting = new Set<() => void>();

  constructor(count: number) {
    this.#free = count;
  }

  /** Throws when the signal aborts first. `onWait` is called where there is something to wait for. */
  async use<T>(work: () => Promise<T>, signal: AbortSignal, onWait: () => void): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    else await this.#wait(signal, onWait);
    try {
      return await work();
    } finally {
      this.#passOn();
    }
  }

  async #wait(signal: AbortSignal, onWait: () => void): Promise<void> {
    onWait();
    const turn = Promise.withResolvers<void>();
    const take = () => {
      this.#waiting.delete(take);
      turn.resolve();
    };
    this.#waiting.add(take);
    try {
      await waitAtMost(turn.promise, Number.POSITIVE_INFINITY, signal, () => new Error("never"));
    } catch (error) {
      // One that was given its turn while it gave up passes it on.
      if (!this.#waiting.delete(take)) this.#passOn();
      throw error;
    }
  }

  #passOn(): void {
    const [next] = this.#waiting;
    if (next === undefined) this.#free += 1;
    else next();
  }
}
