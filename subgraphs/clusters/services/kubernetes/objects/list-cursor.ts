import { createHash } from "node:crypto";
import { FleetError, invalidArgument } from "../../../../../platform/errors/fleet-error.ts";
import type { ObjectFilter } from "../../../../kit/kubernetes/types.ts";

/** Which list a position is of. */
export interface ListIdentity {
  clusterId: string;
  /** Of the cluster's access: another one may lead to another cluster. */
  revision: number;
  kind: string;
  filter: ObjectFilter;
}

/** A place in a list: behind `skip` objects of what the API gives for a token, or at the beginning as it was at a resourceVersion. */
export interface ListPosition {
  token: string | null;
  /** Only where there is no token; null: as it is now. */
  at: string | null;
  /** Objects that lie before the token. */
  before: number;
  skip: number;
}

export const BEGINNING: ListPosition = { token: null, at: null, before: 0, skip: 0 };

const VERSION = 1;
const MAX_LENGTH = 4_000;
const RESOURCE_VERSION = /^\d{1,20}$/;

export function encodeListCursor(identity: ListIdentity, { token, at, before, skip }: ListPosition): string {
  const parts = [VERSION, hashOf(identity), identity.revision, token, at, before, skip];
  return Buffer.from(JSON.stringify(parts)).toString("base64url");
}

/** Throws INVALID_ARGUMENT for what is no position of this list, CURSOR_EXPIRED for one of the cluster's former access. */
export function decodeListCursor(identity: ListIdentity, cursor: string): ListPosition {
  const [version, hash, revision, token, at, before, skip, ...rest] = parse(cursor);
  if (version !== VERSION || rest.length > 0 || !isCount(revision) || !isCount(before) || !isCount(skip)) throw notACursor();
  if (hash !== hashOf(identity)) throw invalidArgument("after", "This position belongs to another cluster, kind or filter.");
  if (token !== null && typeof token !== "string") throw notACursor();
  if (at !== null && (typeof at !== "string" || !RESOURCE_VERSION.test(at))) throw notACursor();
  if (revision !== identity.revision) throw listExpired();
  return { token, at, before, skip };
}

/** CURSOR_EXPIRED: the API keeps the state that a list was begun with for some minutes only. */
export function listExpired(cause?: unknown): FleetError {
  return new FleetError("CURSOR_EXPIRED", "The cluster no longer keeps the state that this list was begun with: begin it again.", {
    reason: "ListExpired",
    cause,
  });
}

function hashOf({ clusterId, kind, filter }: ListIdentity): string {
  const parts = [clusterId, kind, filter.namespace, filter.labelSelector, filter.fieldSelector];
  return createHash("sha256").update(JSON.stringify(parts)).digest("base64url").slice(0, 16);
}

function parse(cursor: string): unknown[] {
  try {
    const parts: unknown = cursor.length <= MAX_LENGTH ? JSON.parse(Buffer.from(cursor, "base64url").toString("utf8")) : null;
    if (Array.isArray(parts)) return parts;
  } catch {
    // Falls through: not JSON.
  }
  throw notACursor();
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function notACursor(): FleetError {
  return invalidArgument("after", "This is not a position that this list has given.");
}
