import { ConsoleEnd, type ConsoleFrame, type ConsoleSession } from "../../schema/generated/proto/hypervisor/v1/consoles.ts";
import { pause } from "../control-plane/backoff.ts";
import type { ConsoleLimits } from "./limits.ts";
import type { Scrollback } from "./scrollback.ts";

/** What viewers are shown of their session. */
export interface Watched {
  readonly scrollback: Scrollback;
  /** Counts what is told besides output: who types, which size, the end. */
  readonly version: number;
  /** Null: it goes on. */
  readonly ending: { message: string } | null;
  view(): ConsoleSession;
  /** This viewer has taken something. */
  onRead(): void;
}

const NOTHING = Buffer.alloc(0);

/** One who watches a session, at a pace of its own. */
export class Viewer {
  readonly #session: Watched;
  readonly #limits: ConsoleLimits;
  #position: number;
  #skipped: boolean;
  /** What was told. */
  #version = -1;
  /** How long the terminal may still be held back for it, until it has caught up. */
  #patienceMs: number;
  /** How long it was, since this viewer took something. */
  #waitedMs = 0;
  #lastFrameAt = Number.NEGATIVE_INFINITY;
  #wake: (() => void) | null = null;

  /** `offset`: where it begins, -1 for all that is kept. */
  constructor(session: Watched, offset: number, limits: ConsoleLimits) {
    const { first, next } = session.scrollback;
    this.#session = session;
    this.#limits = limits;
    this.#position = offset < 0 ? first : Math.min(next, Math.max(first, offset));
    this.#skipped = offset >= 0 && offset < first;
    this.#patienceMs = limits.patienceMs;
  }

  /** The offset of the next byte that it is to get. */
  get position(): number {
    return this.#position;
  }

  /** How long the terminal may be held back for it now; 0: not any more. */
  get worthMs(): number {
    return Math.max(0, Math.min(this.#patienceMs, this.#limits.stallMs - this.#waitedMs));
  }

  /** The terminal was held back for it. */
  waitedFor(ms: number): void {
    this.#waitedMs += ms;
    this.#patienceMs = this.#waitedMs < this.#limits.stallMs ? this.#patienceMs - ms : 0;
  }

  wake(): void {
    this.#wake?.();
    this.#wake = null;
  }

  /** Ends with the last frame of the session, or with the signal. */
  async *frames(signal: AbortSignal): AsyncGenerator<ConsoleFrame, void, undefined> {
    const onAbort = () => this.wake();
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      while (!signal.aborted) {
        const frame = await this.#next(signal);
        if (frame === null) continue;
        yield frame;
        if (isLast(frame)) return;
      }
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  /** Null: something has happened, look again. */
  async #next(signal: AbortSignal): Promise<ConsoleFrame | null> {
    const { scrollback, version, ending } = this.#session;
    if (version !== this.#version && ending === null) return this.#news();
    const waiting = scrollback.next - this.#position;
    if (waiting > 0) {
      const early = this.#lastFrameAt + this.#limits.batchMs - performance.now();
      if (early > 0 && waiting < this.#limits.frameBytes && ending === null) {
        await pause(Math.max(1, early), signal);
        if (signal.aborted) return null;
      }
      return this.#output();
    }
    this.#patienceMs = this.#limits.patienceMs;
    if (ending !== null) return { ...this.#news(), message: ending.message };
    const woken = Promise.withResolvers<void>();
    this.#wake = woken.resolve;
    await woken.promise;
    return null;
  }

  #output(): ConsoleFrame {
    const { scrollback } = this.#session;
    if (this.#position < scrollback.first) {
      // From the oldest byte on it would be overtaken again at once.
      this.#position = Math.max(scrollback.first, scrollback.next - Math.ceil(scrollback.capacity / 2));
      this.#skipped = true;
    }
    const data = scrollback.read(this.#position, this.#limits.frameBytes);
    const frame = { offset: this.#position, data, skipped: this.#takeSkipped(), session: undefined, message: "" };
    this.#position += data.length;
    this.#lastFrameAt = performance.now();
    this.#waitedMs = 0;
    this.#session.onRead();
    return frame;
  }

  #news(): ConsoleFrame {
    this.#version = this.#session.version;
    return { offset: this.#position, data: NOTHING, skipped: this.#takeSkipped(), session: this.#session.view(), message: "" };
  }

  #takeSkipped(): boolean {
    const skipped = this.#skipped;
    this.#skipped = false;
    return skipped;
  }
}

/** The frame that tells the end comes after all output. */
function isLast({ session }: ConsoleFrame): boolean {
  return session !== undefined && session.ended !== ConsoleEnd.UNSPECIFIED;
}
