import { setTimeout as delay, setImmediate as nextTurn } from "node:timers/promises";
import { FleetError } from "../../platform/errors/fleet-error.ts";
import type { EventLog } from "../../subgraphs/kit/events/event-log.ts";
import { type Delivered, delivered } from "./event-truth.ts";
import { END, STREAM, type ThingJson } from "./things.ts";

export interface RecordingOptions {
  random: () => number;
  matches?: (thing: ThingJson) => boolean;
  /** Chance that the connection is cut after an event. */
  cuts?: number;
  /** Chance that the client takes a breath after an event, so that the ring runs away from it. */
  pauses?: number;
  /** How long the client stays away after a cut, in ms at most. */
  awayMs?: number;
  /** The log to connect to, asked at each connection: clients come back to another replica. */
  connectTo: () => EventLog;
}

/** A client as they are: it keeps its last cursor, loses its connection at any moment, and continues behind the cursor. */
export class RecordingClient {
  readonly changes: Delivered[] = [];
  /** Of the last snapshot, in order of delivery. */
  readonly snapshot: ThingJson[] = [];
  /** Cursor of the BOOKMARK that ended the last snapshot. */
  snapshotCursor: string | null = null;
  connections = 0;
  expirations = 0;
  cursor: string | null;
  readonly #options: RecordingOptions;
  readonly #stop = new AbortController();

  /** Starts at a cursor, or with a snapshot where it is null. */
  constructor(cursor: string | null, options: RecordingOptions) {
    this.cursor = cursor;
    this.#options = options;
  }

  stop(): void {
    this.#stop.abort();
  }

  /** Receives until the end event, through as many connections as it takes. With `relist` an expired cursor begins a new snapshot. */
  async run({ relist = false } = {}): Promise<void> {
    for (let done = false; !done && !this.#stop.signal.aborted; ) {
      if (this.connections > 0 && this.#options.awayMs) await delay(this.#options.random() * this.#options.awayMs);
      this.connections += 1;
      try {
        done = await this.#connect(relist);
      } catch (error) {
        if (!(relist && error instanceof FleetError && error.code === "CURSOR_EXPIRED")) throw error;
        this.expirations += 1;
        this.cursor = null;
        this.snapshotCursor = null;
        this.snapshot.length = 0;
        this.changes.length = 0;
      }
    }
  }

  /** True at the end event; false when this connection was cut. */
  async #connect(relist: boolean): Promise<boolean> {
    const { random, matches, cuts = 0, pauses = 0, connectTo } = this.#options;
    const connection = new AbortController();
    const signal = AbortSignal.any([connection.signal, this.#stop.signal]);
    const watch = connectTo().watch<ThingJson>(STREAM, { after: this.cursor, snapshot: this.cursor === null, matches, signal });
    // Some connections end while `next()` waits, by the signal; some between two events, by return().
    const cutWhileWaiting = random() < 0.5;
    for (;;) {
      const pending = watch.next();
      if (random() < cuts) {
        if (cutWhileWaiting) connection.abort();
        else await watch.return?.();
        // What a cut next() still brings was never processed: it must come again.
        await pending;
        return false;
      }
      const { done, value } = await pending;
      if (done) return false;
      this.cursor = value.cursor;
      if (value.type === "BOOKMARK") this.snapshotCursor = value.cursor;
      else if (value.object === null) throw new Error("An event without an object.");
      else if (this.#inSnapshot(value.cursor)) this.snapshot.push(value.object);
      else this.changes.push(delivered(value.type, value.object.id, value.object.count));
      const ended = value.objectId === END && !this.#inSnapshot(value.cursor);
      // A client that listed anew after the end finds it in its list.
      const listedAfterEnd = relist && value.type === "BOOKMARK" && this.snapshot.some((thing) => thing.id === END);
      if (ended || listedAfterEnd) {
        await watch.return?.();
        return true;
      }
      if (random() < pauses) await nextTurn();
    }
  }

  #inSnapshot(cursor: string): boolean {
    return (JSON.parse(Buffer.from(cursor, "base64url").toString()) as unknown[]).length === 6;
  }
}
