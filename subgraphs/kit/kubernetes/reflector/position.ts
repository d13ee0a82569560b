import { createHash } from "node:crypto";
import { invalidArgument } from "../../../../platform/errors/fleet-error.ts";
import { cursorExpired } from "../../events/cursor.ts";

/** Which objects are watched, and of which cluster. Equal in all replicas. */
export interface StreamIdentity {
  /** Names cluster, kind, filter and what is kept of the objects. */
  stream: string;
  /** Another one means that revisions cannot be compared any more, as after a change of the cluster's address. */
  epoch: string;
}

/** Where a watch stands: everything up to the revision has been told, or the part of it that `after` tells. */
export interface Position {
  revision: number;
  /** Within a snapshot of that revision: the last object told, "" before the first. Null outside of one. */
  snapshotAfter: string | null;
  /** Within what changed between another revision and this one: the last change told. Null outside of one. */
  difference: { from: number; after: string } | null;
}

const VERSION = 1;
const MAX_LENGTH = 1_000;

/** The cursor's text: opaque to clients. */
export function encodePosition({ stream, epoch }: StreamIdentity, { revision, snapshotAfter, difference }: Position): string {
  const parts: Array<string | number> = [VERSION, shortHash(stream), shortHash(epoch), revision];
  if (snapshotAfter !== null) parts.push("s", snapshotAfter);
  if (difference !== null) parts.push("d", difference.after, difference.from);
  return Buffer.from(JSON.stringify(parts)).toString("base64url");
}

/** The cursor behind which a watch tells what changed after a list of this resourceVersion. */
export function cursorAt(identity: StreamIdentity, revision: number): string {
  return encodePosition(identity, plain(revision));
}

export function plain(revision: number): Position {
  return { revision, snapshotAfter: null, difference: null };
}

/** @throws FleetError INVALID_ARGUMENT (field "after") for what is no cursor of this stream, CURSOR_EXPIRED for one of another epoch. */
export function decodePosition({ stream, epoch }: StreamIdentity, cursor: string): Position {
  const [version, ofStream, ofEpoch, revision, inside, after, from, ...rest] = parse(cursor);
  if (version !== VERSION || !isRevision(revision) || rest.length > 0) throw notACursor();
  if (ofStream !== shortHash(stream)) throw invalidArgument("after", "This cursor belongs to another watch.");
  if (ofEpoch !== shortHash(epoch)) throw cursorExpired("EpochChanged");
  if (inside === undefined) return plain(revision);
  if (typeof after !== "string") throw notACursor();
  if (inside === "s" && from === undefined) return { revision, snapshotAfter: after, difference: null };
  if (inside === "d" && isRevision(from)) return { revision, snapshotAfter: null, difference: { from, after } };
  throw notACursor();
}

function parse(cursor: string): unknown[] {
  if (cursor.length > MAX_LENGTH) throw notACursor();
  try {
    const parts: unknown = JSON.parse(Buffer.from(cursor, "base64url").toString("utf8"));
    if (Array.isArray(parts)) return parts;
  } catch {
    // Falls through: not JSON.
  }
  throw notACursor();
}

function isRevision(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function notACursor(): Error {
  return invalidArgument("after", "This is not a cursor that a watch has given.");
}

function shortHash(text: string): string {
  return createHash("sha256").update(text).digest("base64url").slice(0, 12);
}
