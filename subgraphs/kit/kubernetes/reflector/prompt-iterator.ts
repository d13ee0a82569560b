interface Waiting<T> {
  resolve(result: IteratorResult<T>): void;
  reject(error: unknown): void;
}

/**
 * An async generator whose `return()` and `end()` take effect at once, also while a `next()` is pending: its signal aborts, and whoever
 * waits gets the end. It asks the generator for one value at a time, and only when somebody waits for it.
 */
export class PromptIterator<T> implements AsyncIterableIterator<T> {
  readonly #stop = new AbortController();
  readonly #source: AsyncGenerator<T, void>;
  readonly #waiting: Waiting<T>[] = [];
  readonly #signal: AbortSignal;
  readonly #onEnd: (iterator: PromptIterator<T>) => void;
  readonly #onAbort = () => this.end(null);
  #pumping = false;
  #ended: { error: unknown } | null = null;

  /** Ends with the signal, without an error. `onEnd` is called once. */
  constructor(open: (signal: AbortSignal) => AsyncGenerator<T, void>, signal: AbortSignal, onEnd: (iterator: PromptIterator<T>) => void) {
    this.#onEnd = onEnd;
    this.#signal = signal;
    this.#source = open(this.#stop.signal);
    if (signal.aborted) this.end(null);
    else signal.addEventListener("abort", this.#onAbort, { once: true });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<T>> {
    if (this.#ended) return this.#afterEnd();
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      void this.#pump();
    });
  }

  return(): Promise<IteratorResult<T>> {
    this.end(null);
    return Promise.resolve({ done: true, value: undefined });
  }

  /** With an error its consumer gets it once, without one the iterator is simply done. */
  end(error: unknown): void {
    if (this.#ended) return;
    this.#ended = { error };
    this.#signal.removeEventListener("abort", this.#onAbort);
    this.#stop.abort();
    // A pending step ends by the signal; what it says then has nobody to hear it.
    this.#source.return().catch(() => undefined);
    for (const waiting of this.#waiting.splice(0)) void this.#afterEnd().then(waiting.resolve, waiting.reject);
    this.#onEnd(this);
  }

  #afterEnd(): Promise<IteratorResult<T>> {
    const error = this.#ended?.error ?? null;
    if (error === null) return Promise.resolve({ done: true, value: undefined });
    this.#ended = { error: null };
    return Promise.reject(error);
  }

  async #pump(): Promise<void> {
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      while (!this.#ended && this.#waiting.length > 0) {
        const result = await this.#source.next();
        if (this.#ended) return;
        if (result.done === true) this.end(null);
        else this.#waiting.shift()?.resolve(result);
      }
    } catch (error) {
      this.end(error);
    } finally {
      this.#pumping = false;
    }
  }
}
