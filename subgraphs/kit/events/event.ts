export type ChangeType = "ADDED" | "MODIFIED" | "DELETED";

/** A change as the table holds it and the bus carries it: objects as JSON text. */
export interface StoredEvent {
  /** Counts 1, 2, 3, … within a stream and epoch, in the order of commits. */
  seq: number;
  type: ChangeType;
  objectId: string;
  /** Milliseconds since 1970, by the writer's clock. */
  at: number;
  object: string;
  previous: string | null;
}

/** The events that one transaction added to one stream: consecutive numbers. */
export interface CommittedEvents {
  stream: string;
  epoch: string;
  events: StoredEvent[];
}

/** What a watch delivers. Objects are shared between watchers and frozen. */
export interface LogEvent<T> {
  type: ChangeType | "BOOKMARK";
  timestamp: Date;
  /** Opaque; `after` with it continues behind this event. */
  cursor: string;
  objectId: string | null;
  /** As it was then; for DELETED the last state; null for BOOKMARK. */
  object: T | null;
}
