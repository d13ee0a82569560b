interface Shared {
  promise: Promise<unknown>;
  controller: AbortController;
  callers: number;
}

/**
 * Equal calls at the same time are made once, and all callers get its answer. A caller leaves by its own signal; when the last one
 * has left, the call is cancelled. What has been answered is not kept.
 */
export class SharedCalls {
  readonly #open = new Map<string, Shared>();

  get size(): number {
    return this.#open.size;
  }

  /** `make` gets the signal of the call itself. Rejects with the caller's own reason when its signal aborts first. */
  async run<T>(key: string, signal: AbortSignal, make: (signal: AbortSignal) => Promise<T>): Promise<T> {
    signal.throwIfAborted();
    const shared = this.#open.get(key) ?? this.#start(key, make);
    shared.callers += 1;
    const left = Promise.withResolvers<never>();
    const leave = () => left.reject(signal.reason);
    signal.addEventListener("abort", leave, { once: true });
    try {
      return (await Promise.race([shared.promise, left.promise])) as T;
    } finally {
      signal.removeEventListener("abort", leave);
      shared.callers -= 1;
      if (shared.callers === 0 && this.#open.get(key) === shared) {
        this.#open.delete(key);
        shared.controller.abort(signal.reason);
      }
    }
  }

  #start(key: string, make: (signal: AbortSignal) => Promise<unknown>): Shared {
    const controller = new AbortController();
    const promise = make(controller.signal).finally(() => {
      if (this.#open.get(key) === shared) this.#open.delete(key);
    });
    const shared: Shared = { promise, controller, callers: 0 };
    this.#open.set(key, shared);
    return shared;
  }
}
