import { StreamEnd } from "./stream-end.ts";
import type { Upstream, UpstreamEvent } from "./upstream.ts";

/** An event as every client of the operation gets it. */
export interface ResolvedEvent {
  /** The answer as JSON, serialised once. */
  readonly payload: string;
  /** Of the payload in UTF-8. */
  readonly bytes: number;
  readonly cursor: string | null;
  readonly bookmark: boolean;
}

/** Must not reject: what goes wrong is part of the payload. The signal aborts where nobody waits for it any more. */
type ResolveEvent = (event: UpstreamEvent, signal: AbortSignal) => Promise<ResolvedEvent>;

/**
 * The events of an upstream, resolved: several at a time, delivered in order, read no further ahead than that.
 * `next()` gives null at the end and throws a StreamEnd where there is a reason to tell.
 */
export class EventStream {
  readonly #upstream: Upstream;
  readonly #resolve: ResolveEvent;
  readonly #inFlight: number;
  readonly #onEnd: () => void;
  readonly #pending: Promise<ResolvedEvent>[] = [];
  readonly #closed = new AbortController();
  #end: { error: StreamEnd | null } | null = null;
  #onReadable: (() => void) | null = null;
  #onSpace: (() => void) | null = null;

  /** `onEnd` is called once, when the upstream is over. */
  constructor(upstream: Upstream, resolve: ResolveEvent, inFlight: number, onEnd: () => void) {
    this.#upstream = upstream;
    this.#resolve = resolve;
    this.#inFlight = inFlight;
    this.#onEnd = onEnd;
    void this.#pump();
  }

  async next(): Promise<ResolvedEvent | null> {
    while (this.#pending.length === 0 && !this.#end) {
      await new Promise<void>((resolve) => {
        this.#onReadable = resolve;
      });
    }
    const [first] = this.#pending;
    if (first !== undefined) {
      const event = await first;
      this.#pending.shift();
      this.#onSpace?.();
      return event;
    }
    if (this.#end?.error) throw this.#end.error;
    return null;
  }

  /** Nothing is delivered any more; frees the upstream at once. */
  close(): void {
    this.#pending.length = 0;
    this.#finish(null);
    this.#closed.abort();
    this.#upstream.close();
    this.#onSpace?.();
  }

  async #pump(): Promise<void> {
    try {
      for await (const event of this.#upstream.events()) {
        if (this.#end) return;
        this.#pending.push(this.#resolve(event, this.#closed.signal));
        this.#onReadable?.();
        while (this.#pending.length >= this.#inFlight && !this.#end) {
          await new Promise<void>((resolve) => {
            this.#onSpace = resolve;
          });
        }
      }
      this.#finish(null);
    } catch (error) {
      this.#finish(StreamEnd.from(error));
    }
  }

  #finish(error: StreamEnd | null): void {
    if (this.#end) return;
    this.#end = { error };
    this.#onReadable?.();
    this.#onEnd();
  }
}
