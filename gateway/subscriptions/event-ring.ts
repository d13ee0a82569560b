import type { ResolvedEvent } from "./event-stream.ts";

/**
 * The latest events of a shared stream, numbered. Every client reads them at its own pace by number, so that there is one queue for all:
 * its bounds are how far a client may lag behind. It also tells at which number a cursor stands.
 */
export class EventRing {
  readonly #maxEvents: number;
  readonly #maxBytes: number;
  readonly #events = new Map<number, ResolvedEvent>();
  readonly #byCursor = new Map<string, number>();
  #first = 0;
  #next = 0;
  #bytes = 0;

  constructor(maxEvents: number, maxBytes: number) {
    this.#maxEvents = maxEvents;
    this.#maxBytes = maxBytes;
  }

  /** Number of the oldest event that is kept. */
  get first(): number {
    return this.#first;
  }

  /** Number of the next event to come. */
  get next(): number {
    return this.#next;
  }

  push(event: ResolvedEvent): void {
    const number = this.#next;
    this.#next += 1;
    this.#events.set(number, event);
    this.#bytes += event.bytes;
    if (event.cursor !== null) this.#byCursor.set(event.cursor, number);
    while (this.#events.size > this.#maxEvents || (this.#bytes > this.#maxBytes && this.#events.size > 1)) this.#dropFirst();
  }

  get(number: number): ResolvedEvent | undefined {
    return this.#events.get(number);
  }

  /** The number behind the last event with this cursor, undefined where it is not (or no longer) here. */
  behind(cursor: string): number | undefined {
    const number = this.#byCursor.get(cursor);
    return number === undefined ? undefined : number + 1;
  }

  /** What comes next does not follow on what is here. The events stay for those who have not read them yet. */
  breakContinuity(): void {
    this.#byCursor.clear();
  }

  #dropFirst(): void {
    const event = this.#events.get(this.#first);
    this.#events.delete(this.#first);
    if (event) {
      this.#bytes -= event.bytes;
      if (event.cursor !== null && this.#byCursor.get(event.cursor) === this.#first) this.#byCursor.delete(event.cursor);
    }
    this.#first += 1;
  }
}
