import { encodeCursor } from "./cursor.ts";
import type { ChangeType, LogEvent, StoredEvent } from "./event.ts";

/** The stream that an entry belongs to, as its cursors name it. */
export interface StreamIdentity {
  subgraph: string;
  stream: string;
  epoch: string;
}

/** One event as watchers see it: parsed when first asked for, once for all of them, and frozen, because they share it. */
export class LogEntry {
  readonly seq: number;
  /** Length of the JSON texts: what the entry costs in memory, roughly. */
  readonly size: number;
  readonly #identity: StreamIdentity;
  readonly #stored: StoredEvent;
  readonly #delivered = new Map<ChangeType, LogEvent<unknown>>();
  #object: unknown;
  #previous: unknown;

  constructor(identity: StreamIdentity, stored: StoredEvent) {
    this.seq = stored.seq;
    this.size = stored.object.length + (stored.previous?.length ?? 0);
    this.#identity = identity;
    this.#stored = stored;
  }

  get objectId(): string {
    return this.#stored.objectId;
  }

  get object(): unknown {
    this.#object ??= frozen(JSON.parse(this.#stored.object));
    return this.#object;
  }

  get previous(): unknown {
    if (this.#stored.previous === null) return null;
    this.#previous ??= frozen(JSON.parse(this.#stored.previous));
    return this.#previous;
  }

  /** As a watcher of everything gets it. */
  plain(): LogEvent<unknown> {
    return this.#as(this.#stored.type);
  }

  /**
   * As a watcher with a filter gets it: what enters its view is ADDED, what leaves it DELETED (with the state that made it leave);
   * null where it sees nothing of it.
   */
  filtered(matches: (object: unknown) => boolean): LogEvent<unknown> | null {
    switch (this.#stored.type) {
      case "ADDED":
        return matches(this.object) ? this.#as("ADDED") : null;
      case "DELETED":
        return matches(this.previous ?? this.object) ? this.#as("DELETED") : null;
      case "MODIFIED": {
        const before = matches(this.previous);
        const after = matches(this.object);
        if (before && after) return this.#as("MODIFIED");
        if (after) return this.#as("ADDED");
        return before ? this.#as("DELETED") : null;
      }
    }
  }

  /** As part of a snapshot of the state after event `seq`. */
  inSnapshot(seq: number): LogEvent<unknown> {
    return this.#event("ADDED", { seq, snapshotAfter: this.objectId });
  }

  #as(type: ChangeType): LogEvent<unknown> {
    let event = this.#delivered.get(type);
    if (!event) {
      event = this.#event(type, { seq: this.seq, snapshotAfter: null });
      this.#delivered.set(type, event);
    }
    return event;
  }

  #event(type: ChangeType, position: { seq: number; snapshotAfter: string | null }): LogEvent<unknown> {
    const { subgraph, stream, epoch } = this.#identity;
    return Object.freeze({
      type,
      timestamp: new Date(this.#stored.at),
      cursor: encodeCursor(subgraph, stream, { epoch, ...position }),
      objectId: this.objectId,
      object: this.object,
    });
  }
}

function frozen(value: unknown): unknown {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const member of Object.values(value)) frozen(member);
  }
  return value;
}
