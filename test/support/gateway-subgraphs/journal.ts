import { FleetError, invalidArgument } from "../../../platform/errors/fleet-error.ts";

export interface JournalEvent<T> {
  type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK";
  cursor: string;
  /** Null for a bookmark. */
  object: T | null;
}

interface Entry<T> {
  seq: number;
  type: "ADDED" | "MODIFIED" | "DELETED";
  id: string;
  object: T;
}

export interface WatchOptions<T> {
  after?: string | null;
  snapshot?: boolean | null;
  matches?: (object: T) => boolean;
}

/** An event log in memory with the rules of the real one: cursors, snapshots that can be cut anywhere, bookmarks, retention. */
export class Journal<T> {
  readonly #entries: Entry<T>[] = [];
  readonly #watchers = new Set<Watch<T>>();
  readonly #bookmarkMs: number | null;
  #floor = 0;
  /** Watches that were ever opened. */
  opened = 0;

  constructor(options: { bookmarkMs?: number } = {}) {
    this.#bookmarkMs = options.bookmarkMs ?? null;
  }

  /** Watches that are open. */
  get watching(): number {
    return this.#watchers.size;
  }

  get seq(): number {
    return this.#entries.length;
  }

  append(type: Entry<T>["type"], id: string, object: T): number {
    this.#entries.push({ seq: this.#entries.length + 1, type, id, object });
    for (const watcher of this.#watchers) watcher.wake();
    return this.#entries.length;
  }

  /** Every open watch gets a bookmark, as if all had been quiet for a while. */
  bookmark(): void {
    for (const watcher of this.#watchers) watcher.bookmark();
  }

  /** Forgets what is older than now. */
  compact(): void {
    this.#floor = this.#entries.length;
  }

  cursor(): string {
    return encode(this.#entries.length, null);
  }

  at(seq: number): Entry<T> | undefined {
    return this.#entries[seq - 1];
  }

  existing(seq: number): Entry<T>[] {
    const latest = new Map<string, Entry<T>>();
    for (const entry of this.#entries.slice(0, seq)) latest.set(entry.id, entry);
    return [...latest.values()].filter(({ type }) => type !== "DELETED").sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  watch(options: WatchOptions<T> = {}): AsyncIterableIterator<JournalEvent<T>> {
    const start = this.#start(options);
    const watcher: Watch<T> = new Watch(this, start, options.matches ?? (() => true), this.#bookmarkMs, () =>
      this.#watchers.delete(watcher),
    );
    this.#watchers.add(watcher);
    this.opened += 1;
    return watcher;
  }

  #start({ after, snapshot }: WatchOptions<T>): Position {
    if (after === null || after === undefined) return { seq: this.#entries.length, snapshotAfter: snapshot ? "" : null };
    const position = decode(after);
    if (position.seq < this.#floor) throw new FleetError("CURSOR_EXPIRED", "The cursor is too old.", { reason: "EventsCompacted" });
    return position;
  }
}

interface Position {
  seq: number;
  /** Within a snapshot of `seq`: the last object that was sent. */
  snapshotAfter: string | null;
}

class Watch<T> implements AsyncIterableIterator<JournalEvent<T>> {
  readonly #journal: Journal<T>;
  readonly #matches: (object: T) => boolean;
  readonly #onEnd: () => void;
  readonly #bookmarkMs: number | null;
  #position: Position;
  #ended = false;
  #bookmarkDue = false;
  #waiting: (() => void) | null = null;

  constructor(journal: Journal<T>, position: Position, matches: (object: T) => boolean, bookmarkMs: number | null, onEnd: () => void) {
    this.#journal = journal;
    this.#position = position;
    this.#matches = matches;
    this.#bookmarkMs = bookmarkMs;
    this.#onEnd = onEnd;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<JournalEvent<T>>> {
    while (!this.#ended) {
      const event = this.#take();
      if (event) return { done: false, value: event };
      await this.#quiet();
    }
    return { done: true, value: undefined };
  }

  async return(): Promise<IteratorResult<JournalEvent<T>>> {
    this.#ended = true;
    this.#onEnd();
    this.wake();
    return { done: true, value: undefined };
  }

  wake(): void {
    this.#waiting?.();
  }

  bookmark(): void {
    this.#bookmarkDue = true;
    this.wake();
  }

  #take(): JournalEvent<T> | null {
    const { seq, snapshotAfter } = this.#position;
    if (snapshotAfter !== null) {
      const next = this.#journal.existing(seq).find(({ id, object }) => id > snapshotAfter && this.#matches(object));
      this.#position = { seq, snapshotAfter: next ? next.id : null };
      if (!next) return { type: "BOOKMARK", cursor: encode(seq, null), object: null };
      return { type: "ADDED", cursor: encode(seq, next.id), object: next.object };
    }
    while (this.#position.seq < this.#journal.seq) {
      this.#position = { seq: this.#position.seq + 1, snapshotAfter: null };
      const entry = this.#journal.at(this.#position.seq) as Entry<T>;
      if (this.#matches(entry.object)) return { type: entry.type, cursor: encode(entry.seq, null), object: entry.object };
    }
    if (!this.#bookmarkDue) return null;
    this.#bookmarkDue = false;
    return { type: "BOOKMARK", cursor: encode(this.#position.seq, null), object: null };
  }

  #quiet(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = this.#bookmarkMs === null ? null : setTimeout(() => this.bookmark(), this.#bookmarkMs);
    this.#waiting = () => {
      if (timer) clearTimeout(timer);
      this.#waiting = null;
      resolve();
    };
    return promise;
  }
}

function encode(seq: number, snapshotAfter: string | null): string {
  return Buffer.from(JSON.stringify(snapshotAfter === null ? [seq] : [seq, snapshotAfter])).toString("base64url");
}

function decode(cursor: string): Position {
  try {
    const [seq, snapshotAfter = null] = JSON.parse(Buffer.from(cursor, "base64url").toString("utf8"));
    if (Number.isInteger(seq)) return { seq, snapshotAfter };
  } catch {
    // Falls through: not a cursor.
  }
  throw invalidArgument("after", "This is not a cursor.");
}
