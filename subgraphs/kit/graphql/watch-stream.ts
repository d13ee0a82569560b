import { mapIterator } from "./async-iterators.ts";
import { EventType, type WatchEventFields } from "./shared-types.ts";

/** An event as the log gives it (kit/events). */
export interface WatchedEvent<T> {
  type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK";
  timestamp: Date;
  cursor: string;
  /** As it was then; its last state on DELETED, null on BOOKMARK. */
  object: T | null;
}

/**
 * The events of a watch in their GraphQL form: `toWatchStream(log.watch(…), (node) => ({ node: node && toNodeType(node) }))`.
 * Ends when the source ends; `return()` ends the source at once.
 */
export function toWatchStream<T, E extends object>(
  source: AsyncIterator<WatchedEvent<T>>,
  shape: (object: T | null, event: WatchedEvent<T>) => E,
): AsyncIterableIterator<WatchEventFields & E> {
  return mapIterator(source, (event) => ({
    type: EventType[event.type],
    timestamp: event.timestamp,
    cursor: event.cursor,
    ...shape(event.object, event),
  }));
}
