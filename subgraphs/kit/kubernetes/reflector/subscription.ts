import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { WatchedEvent } from "../../graphql/watch-stream.ts";
import { type ChangeRing, within } from "./change-ring.ts";
import { type Change, type ChangeType, difference, type ObjectState, restOfDifference, restOfSnapshot } from "./object-state.ts";
import { decodePosition, encodePosition, type Position, plain, type StreamIdentity } from "./position.ts";
import type { WatchedState } from "./watched-state.ts";

const PAGE = 64;

export interface SubscribeOptions {
  /** Continue behind this cursor. Wins over `snapshot`, and continues a snapshot that was cut in the middle. */
  after?: string | null | undefined;
  /** First what exists, as ADDED, then one BOOKMARK, then changes. Without it and without `after`: a BOOKMARK, then changes from now on. */
  snapshot?: boolean | undefined;
  /** A BOOKMARK whenever nothing was delivered for so long; 30 s unless told. */
  bookmarkIntervalMs?: number | undefined;
  /** Ends the subscription at once, without an error. */
  signal: AbortSignal;
}

/** What a subscription asks the cluster where what is kept here does not tell. */
export interface Recall {
  /** The objects as they were. Throws CURSOR_EXPIRED where the cluster does not know any more. */
  stateAt(revision: number, signal: AbortSignal): Promise<ObjectState>;
  /** Throws CURSOR_EXPIRED for a revision that the cluster has not come to. */
  checkReached(revision: number, signal: AbortSignal): Promise<void>;
}

/** One subscriber's way through a watched state: a position that pulls from the ring. Its only buffer is one page of what is kept anyway. */
export class Subscription<T> {
  readonly #watched: WatchedState;
  readonly #identity: StreamIdentity;
  readonly #recall: Recall;
  readonly #options: SubscribeOptions;
  readonly #signal: AbortSignal;
  #deliveredAt = performance.now();

  /** `signal` is the subscription's own, which ends with that of the options. */
  constructor(watched: WatchedState, identity: StreamIdentity, recall: Recall, options: SubscribeOptions, signal: AbortSignal) {
    this.#watched = watched;
    this.#identity = identity;
    this.#recall = recall;
    this.#options = options;
    this.#signal = signal;
  }

  /** @throws FleetError CURSOR_EXPIRED, INVALID_ARGUMENT (field "after"), SLOW_CONSUMER, UNAVAILABLE. */
  async *events(): AsyncGenerator<WatchedEvent<T>, void> {
    const { after, snapshot } = this.#options;
    const asked = typeof after === "string" ? decodePosition(this.#identity, after) : null;
    while (!this.#watched.ring) {
      await this.#watched.changed(this.#signal, null);
      if (this.#signal.aborted) return;
    }
    if (asked) {
      yield* this.#follow(yield* this.#continueFrom(asked));
      return;
    }
    const { next, head } = this.#watched.ring;
    if (snapshot) yield* this.#snapshot(head, restOfSnapshot(this.#watched.objects, ""));
    else yield this.#bookmark(plain(head));
    yield* this.#follow(next);
  }

  /** Tells what the ring does not hold, and returns the number at which the ring goes on. */
  async *#continueFrom(asked: Position): AsyncGenerator<WatchedEvent<T>, number> {
    if (asked.revision > this.#ring.head) await this.#recall.checkReached(asked.revision, this.#signal);
    let state: ObjectState | null = null;
    let position = asked;
    if (asked.snapshotAfter !== null) {
      state = await this.#stateAt(asked.revision);
      yield* this.#snapshot(asked.revision, restOfSnapshot(state, asked.snapshotAfter));
      position = plain(asked.revision);
    } else if (asked.difference && this.#ring.locate(asked) === "not-here") {
      const before = await this.#stateAt(asked.difference.from);
      state = await this.#stateAt(asked.revision);
      const changes = restOfDifference(difference(before, state), asked.difference.after);
      yield* this.#difference(changes, asked.difference.from, asked.revision);
      position = plain(asked.revision);
    }
    let place = this.#ring.locate(position);
    while (place === "ahead" && !this.#signal.aborted) {
      await this.#watched.changed(this.#signal, null);
      place = this.#ring.locate(position);
    }
    if (typeof place === "object") return place.number;
    const known = state ?? (await this.#stateAt(position.revision));
    const { head, next } = this.#ring;
    yield* this.#difference(difference(known, this.#watched.objects), position.revision, head);
    return next;
  }

  async *#follow(from: number): AsyncGenerator<WatchedEvent<T>, void> {
    let number = from;
    while (!this.#signal.aborted) {
      const changes = this.#ring.read(number, PAGE);
      if (!changes) throw slowConsumer();
      for (const { type, at, json, position } of changes) {
        number += 1;
        yield this.#event(type, json, position, at);
      }
      if (changes.length > 0) continue;
      const bookmarkIn = (this.#options.bookmarkIntervalMs ?? 30_000) - (performance.now() - this.#deliveredAt);
      if (bookmarkIn <= 0) yield this.#bookmark(plain(this.#ring.head));
      else await this.#watched.changed(this.#signal, Math.ceil(bookmarkIn));
    }
  }

  async *#snapshot(revision: number, objects: Array<[uid: string, json: string]>): AsyncGenerator<WatchedEvent<T>, void> {
    for (const [uid, json] of objects) {
      yield this.#event("ADDED", json, { revision, snapshotAfter: uid, difference: null }, new Date());
    }
    yield this.#bookmark(plain(revision));
  }

  async *#difference(changes: Change[], from: number, revision: number): AsyncGenerator<WatchedEvent<T>, void> {
    for (const change of changes) {
      const position = change === changes.at(-1) ? plain(revision) : within(change, from, revision);
      yield this.#event(change.type, change.json, position, new Date());
    }
  }

  get #ring(): ChangeRing {
    return this.#watched.ring as ChangeRing;
  }

  async #stateAt(revision: number): Promise<ObjectState> {
    return revision === this.#ring.head ? new Map(this.#watched.objects) : this.#recall.stateAt(revision, this.#signal);
  }

  #event(type: ChangeType, json: string, position: Position, timestamp: Date): WatchedEvent<T> {
    this.#deliveredAt = performance.now();
    return { type, timestamp, cursor: encodePosition(this.#identity, position), object: JSON.parse(json) as T };
  }

  #bookmark(position: Position): WatchedEvent<T> {
    this.#deliveredAt = performance.now();
    return { type: "BOOKMARK", timestamp: new Date(), cursor: encodePosition(this.#identity, position), object: null };
  }
}

function slowConsumer(): FleetError {
  return new FleetError("SLOW_CONSUMER", "The events were not read fast enough: watch again from the last cursor.", {
    reason: "RingOverrun",
  });
}
