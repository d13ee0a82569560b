import { FleetError } from "../../platform/errors/fleet-error.ts";
import { waitAtMost } from "../libvirt/wait.ts";

/** Inputs one after the other, at the pace of the terminal. */
export class InputQueue {
  readonly #maxBytes: number;
  readonly #waitMs: number;
  #waiting = 0;
  #last: Promise<unknown> = Promise.resolve();

  constructor(maxBytes: number, waitMs: number) {
    this.#maxBytes = maxBytes;
    this.#waitMs = waitMs;
  }

  /**
   * Runs `type` when it is its turn; one that was given up before that is left out. RESOURCE_EXHAUSTED InputQueueFull, DEADLINE_EXCEEDED
   * InputNotTaken.
   */
  async add<T>(bytes: number, type: () => Promise<T>, signal: AbortSignal): Promise<T> {
    if (this.#waiting > 0 && this.#waiting + bytes > this.#maxBytes) {
      throw new FleetError("RESOURCE_EXHAUSTED", "The console takes input more slowly than it comes: wait for the answer to each.", {
        reason: "InputQueueFull",
      });
    }
    this.#waiting += Math.max(1, bytes);
    let isGivenUp = false;
    const turn = this.#last.then(async () => {
      if (isGivenUp) throw new FleetError("CANCELLED", "It was given up before it was typed.");
      return await type();
    });
    this.#last = turn
      .catch(() => undefined)
      .finally(() => {
        this.#waiting -= Math.max(1, bytes);
      });
    try {
      return await waitAtMost(turn, this.#waitMs, signal, notTaken);
    } finally {
      isGivenUp = true;
    }
  }
}

function notTaken(): FleetError {
  return new FleetError("DEADLINE_EXCEEDED", "What runs in the console does not take the input.", { reason: "InputNotTaken" });
}
