import { FleetError } from "../../platform/errors/fleet-error.ts";
import type { WatchedEvent } from "../../subgraphs/kit/graphql/watch-stream.ts";

/** What a watch tells: its key, and all else. */
export interface Viewed {
  uid: string;
}

export interface WatchRequestOfView {
  after: string | null;
  snapshot: boolean;
  signal: AbortSignal;
}

const MAX_LATEST = 100;

/**
 * A subscriber as a careful user would write it: it builds its own picture from events, goes on behind the last cursor after every loss,
 * and begins anew where that has expired. It notes every event that does not follow from those before it.
 */
export class WatchedView<T extends Viewed> {
  readonly objects = new Map<string, T>();
  readonly mistakes: string[] = [];
  /** Codes of the ends that were met; "DONE" for one without an error. */
  readonly ends: string[] = [];
  events = 0;
  /** The latest of them. */
  readonly latest: Array<WatchedEvent<T>> = [];
  cursor: string | null = null;
  /** While a snapshot is told, what is in it replaces what was known. */
  #unconfirmed: Set<string> | null = null;
  readonly #open: (request: WatchRequestOfView) => AsyncIterator<WatchedEvent<T>>;

  constructor(open: (request: WatchRequestOfView) => AsyncIterator<WatchedEvent<T>>) {
    this.#open = open;
  }

  /** Follows until the signal, through all losses. */
  async follow(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (this.cursor === null) this.#unconfirmed = new Set(this.objects.keys());
      try {
        await this.readOn(this.#open({ after: this.cursor, snapshot: this.cursor === null, signal }));
        this.ends.push("DONE");
      } catch (error) {
        const { code } = FleetError.from(error);
        this.ends.push(code);
        if (code === "CURSOR_EXPIRED") this.cursor = null;
        else if (code === "INTERNAL") throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }

  async readOn(events: AsyncIterator<WatchedEvent<T>>): Promise<void> {
    for (let next = await events.next(); next.done !== true; next = await events.next()) this.take(next.value);
  }

  take(event: WatchedEvent<T>): void {
    this.events += 1;
    this.cursor = event.cursor;
    this.latest.push(event);
    if (this.latest.length > MAX_LATEST) this.latest.shift();
    if (event.type === "BOOKMARK" || !event.object) {
      for (const uid of this.#unconfirmed ?? []) this.objects.delete(uid);
      this.#unconfirmed = null;
      return;
    }
    const { uid } = event.object;
    const known = this.objects.get(uid);
    const anew = this.#unconfirmed?.delete(uid) === true;
    if (event.type === "ADDED" && known && !anew) this.#mistake("added twice", event);
    if (event.type === "MODIFIED" && !known) this.#mistake("modified without having been added", event);
    if (event.type === "MODIFIED" && JSON.stringify(known) === JSON.stringify(event.object)) this.#mistake("told twice", event);
    if (event.type === "DELETED" && !known) this.#mistake("deleted without having been added", event);
    if (event.type === "DELETED") this.objects.delete(uid);
    else this.objects.set(uid, event.object);
  }

  #mistake(what: string, { object }: WatchedEvent<T>): void {
    this.mistakes.push(`${what}: ${JSON.stringify(object)}`);
  }
}
