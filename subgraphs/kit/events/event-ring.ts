import type { LogEntry } from "./log-entry.ts";

const MAX_ENTRIES = 4_096;
const MAX_SIZE = 16 * 1024 * 1024;

/** The latest events of a stream without a gap, bounded in number and in length of their JSON (16 Mi characters). */
export class EventRing {
  #entries: LogEntry[] = [];
  /** Index of the oldest entry; what is before it is dropped in bulk. */
  #start = 0;
  #size = 0;
  #head: number;

  /** Empty behind event `head`. */
  constructor(head: number) {
    this.#head = head;
  }

  /** Number of the last event that the ring knows of. */
  get head(): number {
    return this.#head;
  }

  /** The ring answers `read(after)` for every `after` from here on. */
  get base(): number {
    return this.#head - (this.#entries.length - this.#start);
  }

  /** Takes the next event: its number is `head + 1`. */
  push(entry: LogEntry): void {
    if (entry.seq !== this.#head + 1) throw new Error(`Event ${entry.seq} does not follow ${this.#head}.`);
    this.#head = entry.seq;
    this.#entries.push(entry);
    this.#size += entry.size;
    while (this.#entries.length - this.#start > MAX_ENTRIES || (this.#size > MAX_SIZE && this.#start < this.#entries.length)) {
      this.#size -= this.#entries[this.#start]?.size ?? 0;
      this.#start += 1;
    }
    if (this.#start > 64 && this.#start * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#start);
      this.#start = 0;
    }
  }

  /** Up to `limit` events behind `after`, which is not below `base`; none where `after` is at the head or beyond. */
  read(after: number, limit: number): LogEntry[] {
    const from = this.#start + (after - this.base);
    return this.#entries.slice(from, from + limit);
  }
}
