import type { Scrollback } from "./scrollback.ts";
import type { Viewer } from "./viewer.ts";

/**
 * Holds a terminal back that may wait, while its next bytes would overwrite what a viewer has not got. One that reads on is waited for until
 * its patience is used up, which it gets back when it has caught up; one that takes nothing for a while is not waited for any more. So output
 * arrives whole where a viewer is not much slower than it, and nobody stops a program for long.
 */
export class HoldingBack {
  readonly #scrollback: Scrollback;
  readonly #viewers: ReadonlySet<Viewer>;
  #onRead: (() => void) | null = null;
  #isOver = false;

  constructor(scrollback: Scrollback, viewers: ReadonlySet<Viewer>) {
    this.#scrollback = scrollback;
    this.#viewers = viewers;
  }

  /** Resolves when so many bytes overwrite nothing that is worth waiting for. */
  async room(bytes: number): Promise<void> {
    for (;;) {
      const late = this.#late(bytes);
      if (late.length === 0 || this.#isOver) return;
      const startedAt = performance.now();
      await this.#untilRead(Math.min(...late.map(({ worthMs }) => worthMs)));
      const waited = performance.now() - startedAt;
      for (const viewer of late) viewer.waitedFor(waited);
    }
  }

  /** A viewer has taken something, or is gone. */
  onRead(): void {
    this.#onRead?.();
  }

  /** Nothing is waited for any more. */
  end(): void {
    this.#isOver = true;
    this.#onRead?.();
  }

  #late(bytes: number): Viewer[] {
    const kept = this.#scrollback.next + bytes - this.#scrollback.capacity;
    return [...this.#viewers].filter((viewer) => viewer.position < kept && viewer.worthMs > 0);
  }

  async #untilRead(atMostMs: number): Promise<void> {
    const read = Promise.withResolvers<void>();
    this.#onRead = read.resolve;
    const stalled = setTimeout(read.resolve, Math.ceil(atMostMs));
    await read.promise;
    clearTimeout(stalled);
    this.#onRead = null;
  }
}
