import { FleetError } from "../../../platform/errors/fleet-error.ts";
import { waitAtMost } from "../../libvirt/wait.ts";
import { type FetchProgress, Pace } from "./activity.ts";

/** One piece of work that several wait for; given up when nobody waits any more. */
export class FetchJob<T> {
  /** Resolves when the work is over, however it ended. */
  readonly over: Promise<void>;
  readonly #result: Promise<T>;
  readonly #controller = new AbortController();
  readonly #waiting = new Set<Pace>();
  #progress: FetchProgress | null = null;

  constructor(work: (tell: (progress: FetchProgress) => void, signal: AbortSignal) => Promise<T>) {
    this.#result = work((progress) => this.#tell(progress), this.#controller.signal);
    this.over = this.#result.then(
      () => undefined,
      () => undefined,
    );
  }

  /** It will end without a result, and nobody can wait for it any more. */
  get givenUp(): boolean {
    return this.#controller.signal.aborted;
  }

  async wait(onProgress: (progress: FetchProgress) => void, signal: AbortSignal): Promise<T> {
    const listener = new Pace(onProgress);
    this.#waiting.add(listener);
    if (this.#progress !== null) listener.say(this.#progress);
    try {
      return await waitAtMost(this.#result, Number.POSITIVE_INFINITY, signal, () => new Error("never"));
    } finally {
      this.#waiting.delete(listener);
      if (this.#waiting.size === 0) this.giveUp();
    }
  }

  giveUp(): void {
    this.#controller.abort(new FleetError("CANCELLED", "Nobody waits for the image any more."));
  }

  #tell(progress: FetchProgress): void {
    this.#progress = progress;
    for (const listener of this.#waiting) listener.say(progress);
  }
}
