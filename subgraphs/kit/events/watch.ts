import { setImmediate as nextTurn } from "node:timers/promises";
import { FleetError } from "../../../platform/errors/fleet-error.ts";
import { cursorExpired, decodeCursor, encodeCursor, type Position } from "./cursor.ts";
import type { LogEvent } from "./event.ts";
import type { EventTable, StreamState } from "./event-table.ts";
import { LogEntry } from "./log-entry.ts";
import type { StreamTail } from "./stream-tail.ts";

const PAGE = 256;

export interface WatchOptions<T> {
  /** Continue behind this cursor. Wins over `snapshot`, and continues a snapshot that was cut in the middle. */
  after?: string | null | undefined;
  /** First what exists, as ADDED, then one BOOKMARK, then changes. Without it and without `after`: changes from now on. */
  snapshot?: boolean | undefined;
  /** The list's filter, over frozen objects. An object that leaves the view is DELETED, one that enters it ADDED. */
  matches?: ((object: T) => boolean) | undefined;
  /** A BOOKMARK first where the watch starts from now, and whenever nothing was delivered for `bookmarkIntervalMs` (30 s unless told). */
  bookmarks?: boolean | undefined;
  bookmarkIntervalMs?: number | undefined;
  /** Ends the watch at once, without an error. */
  signal: AbortSignal;
}

export interface WatchSource {
  subgraph: string;
  stream: string;
  table: EventTable;
  tail(): Promise<StreamTail>;
}

interface Waiting<T> {
  resolve(result: IteratorResult<LogEvent<T>>): void;
  reject(error: unknown): void;
}

/**
 * One watch: a position in the log that pulls pages, from the tail's ring or from the table. It holds at most one page and no queue, so
 * a slow consumer costs nothing but its own delay. `return()` and the signal end it at once, also while it is quiet or reading.
 */
export class Watch<T> implements AsyncIterableIterator<LogEvent<T>> {
  readonly #source: WatchSource;
  readonly #options: WatchOptions<T>;
  readonly #bookmarkMs: number;
  readonly #opening: Promise<void>;
  readonly #waiting: Waiting<T>[] = [];
  #ready: Array<LogEvent<T>> = [];
  #readyIndex = 0;
  #position: Position = { epoch: "", seq: 0, snapshotAfter: null };
  #tail: StreamTail | null = null;
  #unwatch: (() => void) | null = null;
  #wakeUp: (() => void) | null = null;
  #woken = false;
  #deliveredAt = performance.now();
  #pumping = false;
  #ended: { error: unknown } | null = null;
  readonly #onAbort = () => this.end(null);
  readonly #onEnd: (watch: Watch<T>) => void;

  /** `onEnd` is called once. Starts at once. "From now" is when the database answers, which the first BOOKMARK tells; errors come with the first `next()`. */
  constructor(source: WatchSource, options: WatchOptions<T>, onEnd: (watch: Watch<T>) => void) {
    this.#source = source;
    this.#options = options;
    this.#onEnd = onEnd;
    this.#bookmarkMs = options.bookmarkIntervalMs ?? 30_000;
    this.#opening = this.#open();
    this.#opening.catch(() => undefined);
    if (options.signal.aborted) this.end(null);
    else options.signal.addEventListener("abort", this.#onAbort, { once: true });
  }

  get hasEnded(): boolean {
    return this.#ended !== null;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** @throws FleetError CURSOR_EXPIRED, INVALID_ARGUMENT (field "after"), DRAINING, UNAVAILABLE; afterwards the watch is done. */
  next(): Promise<IteratorResult<LogEvent<T>>> {
    if (this.#ended) return this.#afterEnd();
    if (this.#waiting.length === 0 && this.#readyIndex < this.#ready.length) return Promise.resolve({ done: false, value: this.#shift() });
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      void this.#pump();
    });
  }

  return(): Promise<IteratorResult<LogEvent<T>>> {
    this.end(null);
    return Promise.resolve({ done: true, value: undefined });
  }

  /** Ends the watch: with an error its consumer gets it once, without one the watch is simply done. */
  end(error: unknown): void {
    if (this.#ended) return;
    this.#ended = { error };
    this.#options.signal.removeEventListener("abort", this.#onAbort);
    this.#unwatch?.();
    this.#setReady([]);
    for (const waiting of this.#waiting.splice(0)) void this.#afterEnd().then(waiting.resolve, waiting.reject);
    this.#wake();
    this.#onEnd(this);
  }

  #afterEnd(): Promise<IteratorResult<LogEvent<T>>> {
    const error = this.#ended?.error ?? null;
    if (error === null) return Promise.resolve({ done: true, value: undefined });
    this.#ended = { error: null };
    return Promise.reject(error);
  }

  async #pump(): Promise<void> {
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      await this.#opening;
      while (!this.#ended && this.#waiting.length > 0) {
        if (this.#readyIndex < this.#ready.length) {
          const value = this.#shift();
          this.#waiting.shift()?.resolve({ done: false, value });
        } else {
          await this.#fill();
        }
      }
    } catch (error) {
      this.end(error);
    } finally {
      this.#pumping = false;
    }
  }

  #shift(): LogEvent<T> {
    const event = this.#ready[this.#readyIndex] as LogEvent<T>;
    this.#readyIndex += 1;
    this.#deliveredAt = performance.now();
    return event;
  }

  async #open(): Promise<void> {
    const { after, snapshot, bookmarks } = this.#options;
    const { subgraph, stream, table } = this.#source;
    const asked = typeof after === "string" ? decodeCursor(subgraph, stream, after) : null;
    const tail = await this.#source.tail();
    if (this.#ended) return;
    this.#tail = tail;
    this.#unwatch = tail.watch(() => this.#wake());
    const state = await table.state(stream);
    if (asked) {
      if (asked.epoch !== state.epoch) throw cursorExpired("EpochChanged");
      if (asked.seq > state.head) throw cursorExpired("CursorFromFuture");
      checkFloor(asked.seq, state);
    }
    this.#position = asked ?? { epoch: state.epoch, seq: state.head, snapshotAfter: snapshot ? "" : null };
    // Who starts from now learns at once where that is, and so can go on from there if nothing ever happens.
    if (bookmarks && !asked && !snapshot) this.#setReady([this.#bookmark()]);
    if (tail.head < state.head || tail.identity.epoch !== state.epoch) tail.lookAgain();
  }

  /** Gets the next page ready, or waits until there may be one. */
  async #fill(): Promise<void> {
    const tail = this.#tail;
    if (!tail) return;
    const sameEpoch = tail.identity.epoch === this.#position.epoch;
    if (!sameEpoch) await this.#recheckEpoch();
    if (this.#position.snapshotAfter !== null) return this.#fillFromSnapshot(this.#position.snapshotAfter);
    this.#woken = false;
    const entries = (sameEpoch ? tail.recent(this.#position.seq, PAGE) : null) ?? (await this.#readTable());
    const last = entries.at(-1);
    if (last) {
      this.#position = { ...this.#position, seq: last.seq };
      this.#offer(entries);
    }
    if (this.#readyIndex < this.#ready.length) return;
    if (this.#bookmarkDue()) this.#setReady([this.#bookmark()]);
    else if (!last) await this.#untilWoken();
  }

  async #fillFromSnapshot(afterObject: string): Promise<void> {
    const { table, stream } = this.#source;
    const { epoch, seq } = this.#position;
    // A reader that is far behind goes from page to page; SQLite answers within the turn, and others want theirs.
    await nextTurn();
    const { events, state } = await table.snapshotPage(stream, seq, afterObject, PAGE);
    this.#checkState(state);
    const { matches } = this.#options;
    const identity = { subgraph: this.#source.subgraph, stream, epoch };
    const entries = events.map((event) => new LogEntry(identity, event));
    const visible = matches ? entries.filter((entry) => matches(entry.object as T)) : entries;
    const ready = visible.map((entry) => entry.inSnapshot(seq) as LogEvent<T>);
    const last = events.at(-1);
    this.#position = { epoch, seq, snapshotAfter: events.length < PAGE || !last ? null : last.objectId };
    if (this.#position.snapshotAfter === null) ready.push(this.#bookmark());
    this.#setReady(ready);
  }

  async #readTable(): Promise<LogEntry[]> {
    const { table, stream, subgraph } = this.#source;
    const { epoch, seq } = this.#position;
    await nextTurn();
    const { events, state } = await table.page(stream, seq, PAGE);
    this.#checkState(state);
    return events.map((event) => new LogEntry({ subgraph, stream, epoch }, event));
  }

  /** The tail has seen another epoch, or has not yet seen this watch's: the table knows. */
  async #recheckEpoch(): Promise<void> {
    this.#checkState(await this.#source.table.state(this.#source.stream));
  }

  #checkState(state: StreamState): void {
    if (state.epoch !== this.#position.epoch) throw cursorExpired("EpochChanged");
    checkFloor(this.#position.seq, state);
  }

  #offer(entries: LogEntry[]): void {
    const { matches } = this.#options;
    const events: Array<LogEvent<unknown>> = [];
    for (const entry of entries) {
      const event = matches ? entry.filtered(matches as (object: unknown) => boolean) : entry.plain();
      if (event) events.push(event);
    }
    this.#setReady(events as Array<LogEvent<T>>);
  }

  #setReady(events: Array<LogEvent<T>>): void {
    this.#ready = events;
    this.#readyIndex = 0;
  }

  #bookmarkDue(): boolean {
    return this.#options.bookmarks === true && performance.now() - this.#deliveredAt >= this.#bookmarkMs;
  }

  #bookmark(): LogEvent<T> {
    const { subgraph, stream } = this.#source;
    const cursor = encodeCursor(subgraph, stream, this.#position);
    return Object.freeze({ type: "BOOKMARK", timestamp: new Date(), cursor, objectId: null, object: null });
  }

  #untilWoken(): Promise<void> {
    if (this.#woken || this.#ended) return Promise.resolve();
    return new Promise((resolve) => {
      const bookmarkIn = this.#bookmarkMs - (performance.now() - this.#deliveredAt);
      const timer = this.#options.bookmarks === true ? setTimeout(() => this.#wake(), Math.max(1, Math.ceil(bookmarkIn))) : null;
      this.#wakeUp = () => {
        if (timer) clearTimeout(timer);
        this.#wakeUp = null;
        resolve();
      };
    });
  }

  #wake(): void {
    this.#woken = true;
    this.#wakeUp?.();
  }
}

function checkFloor(seq: number, state: StreamState): void {
  if (state.floor > seq) throw cursorExpired("EventsCompacted");
}

/** For watches that end because the process does. */
export function draining(): FleetError {
  return new FleetError("DRAINING", "This replica is going away: watch again from the last cursor.", { reason: "Draining" });
}
