import { FleetError } from "../../platform/errors/fleet-error.ts";

/** Timers overflow beyond this. */
export const LONGEST_TIMER_MS = 2 ** 31 - 1;

/**
 * How long something may go on: one signal out of a caller's signal and a deadline. The signal's reason is a FleetError
 * (CANCELLED, DEADLINE_EXCEEDED, or what `end` was given), so that whoever throws it says the right thing.
 * `close()` gives timer and listener back, however it ended.
 */
export class RequestScope {
  readonly #controller = new AbortController();
  readonly #parent: AbortSignal | undefined;
  readonly #timer: NodeJS.Timeout | undefined;
  readonly #onParent = () => this.end(reasonOf(this.#parent));
  /** On the scale of performance.now(). */
  readonly deadlineAt: number | null;

  constructor(options: { signal?: AbortSignal | undefined; deadlineMs?: number | undefined }) {
    this.#parent = options.signal;
    this.deadlineAt = options.deadlineMs === undefined ? null : performance.now() + options.deadlineMs;
    if (options.deadlineMs !== undefined) {
      this.#timer = setTimeout(
        () => this.end(new FleetError("DEADLINE_EXCEEDED", "The deadline passed before the answer was ready.")),
        Math.min(options.deadlineMs, LONGEST_TIMER_MS),
      );
    }
    if (this.#parent?.aborted) this.#onParent();
    else this.#parent?.addEventListener("abort", this.#onParent, { once: true });
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  end(reason: FleetError): void {
    this.close();
    this.#controller.abort(reason);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#parent?.removeEventListener("abort", this.#onParent);
  }

  /** The work's outcome, or the signal's reason if that comes first; the work goes on until it notices the signal. */
  async race<T>(work: Promise<T>): Promise<T> {
    const { signal } = this;
    const ended = Promise.withResolvers<never>();
    const onAbort = () => ended.reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
    try {
      return await Promise.race([work, ended.promise]);
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }
}

function reasonOf(signal: AbortSignal | undefined): FleetError {
  const reason: unknown = signal?.reason;
  return reason instanceof FleetError ? reason : new FleetError("CANCELLED", "The request was cancelled.", { cause: reason });
}
