import { FleetError, invalidArgument } from "../../../platform/errors/fleet-error.ts";

/** Where a watch stands. */
export interface Position {
  /** Of the database; another one means that a backup was restored in between. */
  epoch: string;
  /** Everything up to here has been delivered; within a snapshot: the snapshot shows the state after this event. */
  seq: number;
  /** Within a snapshot: the last object delivered ("" before the first); null behind it. */
  snapshotAfter: string | null;
}

const VERSION = 1;

/** The cursor's text: opaque to clients, the same for all replicas of a subgraph. */
export function encodeCursor(subgraph: string, stream: string, { epoch, seq, snapshotAfter }: Position): string {
  const parts: Array<string | number> = [VERSION, subgraph, stream, epoch, seq];
  if (snapshotAfter !== null) parts.push(snapshotAfter);
  return Buffer.from(JSON.stringify(parts)).toString("base64url");
}

/** @throws FleetError INVALID_ARGUMENT with field "after" for anything that is not a cursor of this stream. */
export function decodeCursor(subgraph: string, stream: string, cursor: string): Position {
  const parts = parse(cursor);
  const [version, ofSubgraph, ofStream, epoch, seq, snapshotAfter] = parts;
  if (version !== VERSION || typeof epoch !== "string" || !Number.isSafeInteger(seq) || (seq as number) < 0) throw notACursor();
  if (parts.length > 6 || (parts.length === 6 && typeof snapshotAfter !== "string")) throw notACursor();
  if (ofSubgraph !== subgraph || ofStream !== stream) throw invalidArgument("after", "This cursor belongs to another watch.");
  return { epoch, seq: seq as number, snapshotAfter: parts.length === 6 ? (snapshotAfter as string) : null };
}

export function cursorExpired(reason: "EventsCompacted" | "EpochChanged" | "CursorFromFuture"): FleetError {
  return new FleetError("CURSOR_EXPIRED", "What follows this cursor is no longer kept: list again, then watch from there.", { reason });
}

function parse(cursor: string): unknown[] {
  if (cursor.length > 4_000) throw notACursor();
  try {
    const parts: unknown = JSON.parse(Buffer.from(cursor, "base64url").toString("utf8"));
    if (Array.isArray(parts)) return parts;
  } catch {
    // Falls through: not JSON.
  }
  throw notACursor();
}

function notACursor(): FleetError {
  return invalidArgument("after", "This is not a cursor that a watch has given.");
}
