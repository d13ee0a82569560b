/** What pushes can be told to wait. */
interface Source {
  pause(): void;
  resume(): void;
}

const MAX_WAITING_BYTES = 256 * 1024;

/** What a source pushes, to be iterated once; the source waits while too much of it is unread. */
export class PushedOutput implements AsyncIterable<Uint8Array> {
  readonly #source: Source;
  readonly #waiting: Uint8Array[] = [];
  #bytes = 0;
  #isPaused = false;
  #isOver = false;
  #wake: (() => void) | null = null;

  constructor(source: Source) {
    this.#source = source;
  }

  push(data: Uint8Array): void {
    this.#waiting.push(data);
    this.#bytes += data.length;
    this.#wake?.();
    if (this.#bytes < MAX_WAITING_BYTES || this.#isPaused) return;
    this.#isPaused = true;
    this.#source.pause();
  }

  /** What was pushed before is still iterated. */
  end(): void {
    this.#isOver = true;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    for (;;) {
      const data = this.#waiting.shift();
      if (data !== undefined) {
        this.#taken(data.length);
        yield data;
      } else if (this.#isOver) {
        return;
      } else {
        const woken = Promise.withResolvers<void>();
        this.#wake = woken.resolve;
        await woken.promise;
      }
    }
  }

  #taken(bytes: number): void {
    this.#bytes -= bytes;
    if (!this.#isPaused || this.#isOver || this.#bytes > MAX_WAITING_BYTES / 2) return;
    this.#isPaused = false;
    this.#source.resume();
  }
}
