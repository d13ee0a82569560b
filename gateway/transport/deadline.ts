import { setTimeout as setTimeoutPromise } from "node:timers/promises";

/** A signal that aborts with its parent or when the time is up, and can be taken down before (an `AbortSignal.any` would live as long as its parent). */
export class Deadline {
  readonly #controller = new AbortController();
  readonly #timer: NodeJS.Timeout;
  readonly #parent: AbortSignal | undefined;
  readonly #endsAt: number;
  #expired = false;
  readonly #onParent = () => this.#controller.abort(this.#parent?.reason);

  constructor(ms: number, parent: AbortSignal | undefined) {
    this.#parent = parent;
    this.#endsAt = performance.now() + ms;
    if (parent?.aborted) this.#controller.abort(parent.reason);
    else parent?.addEventListener("abort", this.#onParent, { once: true });
    this.#timer = setTimeout(
      () => {
        this.#expired = true;
        this.#controller.abort(new DOMException("The deadline passed.", "TimeoutError"));
      },
      Math.max(0, ms),
    );
  }

  /** Milliseconds that are left, at least 0. */
  get leftMs(): number {
    return Math.max(0, this.#endsAt - performance.now());
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** True where the time was up, false where the parent aborted or nothing happened. */
  get expired(): boolean {
    return this.#expired;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#parent?.removeEventListener("abort", this.#onParent);
  }
}

/** Settles as the work does, or rejects with the signal's reason as soon as it aborts. */
export function abortable<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const onAbort = () => reject(signal.reason);
  if (signal.aborted) onAbort();
  else signal.addEventListener("abort", onAbort, { once: true });
  work.then(resolve, reject);
  return promise.finally(() => signal.removeEventListener("abort", onAbort));
}

/** Waits, or returns earlier where the signal aborts. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await setTimeoutPromise(ms, undefined, { signal }).catch(() => undefined);
}
