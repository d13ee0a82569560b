import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "../../../platform/observability/log.ts";
import type { StoredEvent } from "./event.ts";
import { EventRing } from "./event-ring.ts";
import type { EventTable, StreamState } from "./event-table.ts";
import { LogEntry, type StreamIdentity } from "./log-entry.ts";

const PAGE = 256;
/** A tail that is further behind than this starts anew at the head; its watchers read the table. */
const MAX_CATCH_UP = 2_048;
/** How long a gap may wait for a copy that another message or commit is about to bring, before the table is read. */
const REORDER_MS = 2;
const MAX_HELD = 64;

interface TailOptions {
  subgraph: string;
  stream: string;
  table: EventTable;
  log: Logger;
}

/**
 * The end of one stream's log in this process, shared by all its watchers: a bounded ring of recent events, fed by copies (of own
 * commits and from the bus) and, where those leave a gap, from the table. Watchers pull from it and are told when there is more.
 */
export class StreamTail {
  readonly stream: string;
  readonly #options: TailOptions;
  readonly #wakers = new Set<() => void>();
  /** Copies that came before those they follow, by their first number. */
  readonly #held = new Map<number, StoredEvent[]>();
  #identity: StreamIdentity;
  #ring: EventRing;
  /** When the last watcher left, in ms of `performance.now()`; null while there are some. */
  #idleSince: number | null = performance.now();
  #reading: Promise<void> | null = null;
  #readAgain = false;

  constructor(options: TailOptions, state: StreamState) {
    this.stream = options.stream;
    this.#options = options;
    this.#identity = { subgraph: options.subgraph, stream: options.stream, epoch: state.epoch };
    this.#ring = new EventRing(state.head);
  }

  get identity(): StreamIdentity {
    return this.#identity;
  }

  get head(): number {
    return this.#ring.head;
  }

  idleMs(): number {
    return this.#idleSince === null ? 0 : performance.now() - this.#idleSince;
  }

  /** `wake` is called after every change, synchronously; it must be cheap and not throw. Returns an undo. */
  watch(wake: () => void): () => void {
    this.#wakers.add(wake);
    this.#idleSince = null;
    return () => {
      if (this.#wakers.delete(wake) && this.#wakers.size === 0) this.#idleSince = performance.now();
    };
  }

  /** Events behind `after` from the ring; null where only the table has them. */
  recent(after: number, limit: number): LogEntry[] | null {
    return after >= this.#ring.base ? this.#ring.read(after, limit) : null;
  }

  /** Copies of consecutive events: what has been seen is dropped, what comes too early is kept for a moment. */
  offer(epoch: string, events: readonly StoredEvent[]): void {
    const first = events[0];
    if (!first) return;
    if (epoch !== this.#identity.epoch) {
      this.lookAgain();
      return;
    }
    if (first.seq > this.head + 1) {
      if (this.#held.size < MAX_HELD) this.#held.set(first.seq, [...events]);
      this.#lookAgainSoon();
      return;
    }
    if (this.#take(events)) {
      this.#takeHeld();
      this.#wake();
    }
  }

  /** There may be events that nobody brought: reads the table. Joins a read that has not started yet. */
  lookAgain(): void {
    this.#schedule(() => this.#read());
  }

  #lookAgainSoon(): void {
    this.#schedule(() => sleep(REORDER_MS).then(() => (this.#held.size > 0 ? this.#read() : undefined)));
  }

  #schedule(read: () => Promise<void>): void {
    if (this.#reading !== null) {
      this.#readAgain = true;
      return;
    }
    this.#reading = read().finally(() => {
      this.#reading = null;
      if (!this.#readAgain) return;
      this.#readAgain = false;
      this.lookAgain();
    });
  }

  /** Never rejects: where the table cannot be read, the sweep tries again. */
  async #read(): Promise<void> {
    const { table, log } = this.#options;
    try {
      for (;;) {
        const { events, state } = await table.page(this.stream, this.head, PAGE);
        if (
          state.epoch !== this.#identity.epoch ||
          state.head < this.head ||
          state.floor > this.head ||
          state.head - this.head > MAX_CATCH_UP
        ) {
          this.#startAnew(state);
          return;
        }
        if (this.#take(events)) this.#wake();
        this.#takeHeld();
        if (events.length < PAGE) break;
      }
      this.#held.clear();
    } catch (error) {
      log.warn({ err: error, stream: this.stream }, "the event log could not be read; the sweep tries again");
    }
  }

  /** A new epoch ends all watches of the old one; otherwise they go on from the table. */
  #startAnew(state: StreamState): void {
    this.#identity = { ...this.#identity, epoch: state.epoch };
    this.#ring = new EventRing(state.head);
    this.#held.clear();
    this.#wake();
  }

  #take(events: readonly StoredEvent[]): boolean {
    let taken = false;
    for (const event of events) {
      if (event.seq !== this.head + 1) continue;
      this.#ring.push(new LogEntry(this.#identity, event));
      taken = true;
    }
    return taken;
  }

  #takeHeld(): void {
    for (let next = this.#held.get(this.head + 1); next; next = this.#held.get(this.head + 1)) {
      this.#held.delete(this.head + 1);
      this.#take(next);
    }
    for (const first of this.#held.keys()) if (first <= this.head) this.#held.delete(first);
  }

  #wake(): void {
    for (const wake of this.#wakers) wake();
  }
}
