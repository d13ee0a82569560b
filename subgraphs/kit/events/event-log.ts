import { setTimeout as sleep } from "node:timers/promises";
import type { JsonObject, JsonValue } from "../store/json.ts";
import type { Store } from "../store/orm.ts";
import type { Bus, Unsubscribe } from "./bus.ts";
import { encodeCursor } from "./cursor.ts";
import type { CommittedEvents, LogEvent } from "./event.ts";
import { EventTable } from "./event-table.ts";
import { compactAll, type Retention } from "./retention.ts";
import { StreamTail } from "./stream-tail.ts";
import { draining, Watch, type WatchOptions } from "./watch.ts";

export interface EventLogOptions {
  /** What is kept; see Retention for the defaults. */
  retention?: Partial<Retention>;
  /** How often the table is asked for events that nobody announced, in ms; 1 s unless told. */
  sweepIntervalMs?: number;
  /** How often old events are compacted, in ms; a minute unless told. */
  compactionIntervalMs?: number;
}

const DEFAULT_RETENTION: Retention = { maxAgeMs: 24 * 3_600_000, maxEvents: 100_000, batch: 500 };
/** A tail without watchers is kept this long, for clients that come back. */
const TAIL_LINGER_MS = 30_000;

/** What the bus carries: a copy of committed events, or only how far the log goes. */
type Announcement = { epoch: string; head: number; events?: CommittedEvents["events"] };

/**
 * The event log of one store: watches over what transactions emitted. The table is the log; the bus and own commits only bring copies
 * and wake-ups, and a sweep finds what nobody announced (a writer that died between commit and publish, a bus that was down).
 */
export class EventLog {
  readonly #store: Store;
  readonly #bus: Bus;
  readonly #table: EventTable;
  readonly #retention: Retention;
  readonly #sweepMs: number;
  readonly #compactionMs: number;
  readonly #tails = new Map<string, { tail: Promise<StreamTail>; unsubscribe: Unsubscribe }>();
  readonly #watches = new Set<{ end(error: unknown): void }>();
  readonly #stopping = new AbortController();
  readonly #loops: Array<Promise<void>> = [];
  #forget: (() => void) | null = null;

  constructor(store: Store, bus: Bus, options: EventLogOptions = {}) {
    this.#store = store;
    this.#bus = bus;
    this.#table = new EventTable(store);
    this.#retention = { ...DEFAULT_RETENTION, ...options.retention };
    this.#sweepMs = options.sweepIntervalMs ?? 1_000;
    this.#compactionMs = options.compactionIntervalMs ?? 60_000;
  }

  /** Begins to announce commits of this store, to sweep and to compact. */
  start(): void {
    if (this.#forget) return;
    this.#forget = this.#store.onCommitted((committed) => this.#announce(committed));
    this.#loops.push(
      this.#every(this.#sweepMs, "sweep", () => this.#sweep()),
      this.#every(this.#compactionMs, "compaction", () => compactAll(this.#store, this.#table, this.#retention, this.#stopping.signal)),
    );
  }

  /** Ends all watches with DRAINING, and the loops. The bus and the store belong to the caller. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#forget?.();
    for (const watch of this.#watches) watch.end(draining());
    await Promise.all(this.#loops.splice(0));
    for (const { unsubscribe } of this.#tails.values()) unsubscribe();
    this.#tails.clear();
  }

  /** Changes of a stream; see WatchOptions. Objects are shared and frozen. */
  watch<T = JsonObject>(stream: string, options: WatchOptions<T>): AsyncIterableIterator<LogEvent<T>> {
    const source = { subgraph: this.#store.name, stream, table: this.#table, tail: () => this.#tail(stream) };
    const watch = new Watch<T>(source, options, (ended) => this.#watches.delete(ended));
    if (!watch.hasEnded) this.#watches.add(watch);
    if (this.#stopping.signal.aborted) watch.end(draining());
    return watch;
  }

  /** "From now": a watch `after` it gets everything that is committed after this call began. Take it before the list is read. */
  async cursor(stream: string): Promise<string> {
    const { epoch, head } = await this.#table.state(stream);
    return encodeCursor(this.#store.name, stream, { epoch, seq: head, snapshotAfter: null });
  }

  /** Compacts now what retention allows; returns the number of events that the floors moved. For operators and tests. */
  compact(): Promise<number> {
    return compactAll(this.#store, this.#table, this.#retention, this.#stopping.signal);
  }

  #subject(stream: string): string {
    return `fleetgraph.events.${this.#store.name}.${stream}`;
  }

  #announce(committed: CommittedEvents[]): void {
    for (const { stream, epoch, events } of committed) {
      const entry = this.#tails.get(stream);
      if (entry) withTail(entry.tail, (tail) => tail.offer(epoch, events));
      const head = events.at(-1)?.seq ?? 0;
      this.#bus.publish(this.#subject(stream), { epoch, head, events } as unknown as JsonValue, { epoch, head });
    }
  }

  #tail(stream: string): Promise<StreamTail> {
    let entry = this.#tails.get(stream);
    if (!entry) {
      const tail = this.#openTail(stream);
      // A tail that could not be opened is tried again by the next watch.
      tail.catch(() => this.#dropTail(stream));
      const unsubscribe = this.#bus.subscribe(this.#subject(stream), (message) => withTail(tail, (opened) => receive(opened, message)));
      entry = { tail, unsubscribe };
      this.#tails.set(stream, entry);
    }
    return entry.tail;
  }

  async #openTail(stream: string): Promise<StreamTail> {
    const state = await this.#table.state(stream);
    return new StreamTail({ subgraph: this.#store.name, stream, table: this.#table, log: this.#store.log }, state);
  }

  #dropTail(stream: string): void {
    this.#tails.get(stream)?.unsubscribe();
    this.#tails.delete(stream);
  }

  /** Finds what nobody announced, tells the other replicas, and lets go of tails that nobody watches. */
  async #sweep(): Promise<void> {
    if (this.#tails.size === 0) return;
    const { epoch, streams } = await this.#table.states();
    for (const [stream, entry] of [...this.#tails]) {
      const tail = await entry.tail;
      if (tail.idleMs() > TAIL_LINGER_MS) {
        this.#dropTail(stream);
        continue;
      }
      const head = streams.get(stream)?.head ?? 0;
      if (tail.identity.epoch === epoch && tail.head >= head) continue;
      tail.lookAgain();
      this.#bus.publish(this.#subject(stream), { epoch, head });
    }
  }

  /** Runs `work` again and again, `intervalMs` (± 20 %) apart; a failure is logged, and the next round tries again. */
  async #every(intervalMs: number, name: string, work: () => Promise<unknown>): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      try {
        await sleep(intervalMs * (0.8 + 0.4 * Math.random()), undefined, { signal });
        await work();
      } catch (error) {
        if (!signal.aborted) this.#store.log.warn({ err: error }, `the event log's ${name} failed; it is tried again`);
      }
    }
  }
}

/** A tail that could not be opened is dropped by whoever opened it. */
function withTail(tail: Promise<StreamTail>, use: (tail: StreamTail) => void): void {
  void tail.then(use, () => undefined);
}

/** A message of the bus is taken for what it is; anything unexpected (null after a reconnect) is a wake-up. */
function receive(tail: StreamTail, message: JsonValue): void {
  const announcement = message as unknown as Partial<Announcement> | null;
  if (!announcement || typeof announcement.epoch !== "string" || typeof announcement.head !== "number") tail.lookAgain();
  else if (Array.isArray(announcement.events)) tail.offer(announcement.epoch, announcement.events);
  else if (announcement.epoch !== tail.identity.epoch || announcement.head > tail.head) tail.lookAgain();
}
