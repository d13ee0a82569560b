import type { status as GrpcStatus } from "@grpc/grpc-js";
import { ClientError, type Metadata, ServerError } from "nice-grpc";
import { ERROR_TABLE, type ErrorCode, isErrorCode } from "../errors/codes.ts";
import { type ErrorDetails, FleetError } from "../errors/fleet-error.ts";

/** Trailers that carry what a gRPC status has no room for. */
export const CODE_TRAILER = "fleetgraph-code";
export const REASON_TRAILER = "fleetgraph-reason";
/** JSON. */
export const DETAILS_TRAILER = "fleetgraph-details-bin";

/** Clients on gRPC's C core refuse more than 8 KiB of metadata, which base64 fills by a third more. */
const MAX_DETAILS_BYTES = 4096;
const MAX_MESSAGE_LENGTH = 2048;
const MAX_REASON_LENGTH = 128;

/** The error as nice-grpc sends it, after its code, reason and details were written into the trailers. */
export function toServerError(error: FleetError, trailer: Metadata): ServerError {
  trailer.set(CODE_TRAILER, error.code);
  if (error.reason !== undefined) trailer.set(REASON_TRAILER, error.reason.replace(/[^\x20-\x7e]/g, "?").slice(0, MAX_REASON_LENGTH));
  const details = detailsJson(error.details);
  if (details !== null) trailer.set(DETAILS_TRAILER, Buffer.from(details));
  // A lone surrogate makes grpc-js throw while it encodes the status.
  return new ServerError(ERROR_TABLE[error.code].grpc, error.message.slice(0, MAX_MESSAGE_LENGTH).toWellFormed());
}

/** What a call failed with, as the FleetError that the server threw, or as its gRPC status says where the answer is not one of ours. */
export function fromClientError(error: unknown, trailer: Metadata | undefined): FleetError {
  if (!(error instanceof ClientError)) return isClosedChannel(error) ? unavailable(error) : FleetError.from(error);
  const code = trailer?.get(CODE_TRAILER);
  if (trailer === undefined || !isErrorCode(code)) return fromStatus(error);
  return new FleetError(code, error.details, {
    reason: trailer.get(REASON_TRAILER),
    details: parseDetails(trailer.get(DETAILS_TRAILER)),
    cause: error,
  });
}

/** A status that grpc-js or a proxy made: its text may hold addresses and stays in `cause`. */
function fromStatus(error: ClientError): FleetError {
  const code = CODE_BY_STATUS.get(error.code as number) ?? "INTERNAL";
  return new FleetError(code, STATUS_TEXT[code] ?? "The call failed.", { cause: error });
}

/** grpc-js throws a plain Error for a call on a channel that was closed. */
function isClosedChannel(error: unknown): boolean {
  return error instanceof Error && error.message === "Channel has been shut down";
}

function unavailable(cause: unknown): FleetError {
  return new FleetError("UNAVAILABLE", "The connection is closed.", { cause });
}

const CODE_BY_STATUS = new Map<GrpcStatus, ErrorCode>();
// The table's first code for a status is the general one.
for (const [code, { grpc }] of Object.entries(ERROR_TABLE) as Array<[ErrorCode, { grpc: GrpcStatus }]>) {
  if (!CODE_BY_STATUS.has(grpc)) CODE_BY_STATUS.set(grpc, code);
}

const STATUS_TEXT: Partial<Record<ErrorCode, string>> = {
  UNAVAILABLE: "The other side cannot be reached.",
  DEADLINE_EXCEEDED: "The deadline passed before the answer was ready.",
  CANCELLED: "The request was cancelled.",
  RESOURCE_EXHAUSTED: "The message is larger than the limit, or the other side is at its own.",
  UNIMPLEMENTED: "The other side does not know this call.",
  UNAUTHENTICATED: "The other side wants credentials.",
};

function detailsJson(details: ErrorDetails): string | null {
  if (Object.keys(details).length === 0) return null;
  try {
    const whole = JSON.stringify(details);
    return Buffer.byteLength(whole) <= MAX_DETAILS_BYTES ? whole : shortened(details);
  } catch {
    return null;
  }
}

/** The entries that fit, lists cut to what fits of them, and `truncated: true`. */
function shortened(details: ErrorDetails): string {
  const kept: ErrorDetails = { truncated: true };
  const fits = (key: string, value: unknown) => Buffer.byteLength(JSON.stringify({ ...kept, [key]: value })) <= MAX_DETAILS_BYTES;
  for (const [key, value] of Object.entries(details)) {
    if (fits(key, value)) kept[key] = value;
    else if (Array.isArray(value)) {
      let count = value.length;
      while (count > 0 && !fits(key, value.slice(0, count))) count = count >> 1;
      kept[key] = value.slice(0, count);
    }
  }
  return JSON.stringify(kept);
}

function parseDetails(bytes: Uint8Array | undefined): ErrorDetails {
  if (bytes === undefined) return {};
  try {
    const details: unknown = JSON.parse(Buffer.from(bytes).toString("utf8"));
    return typeof details === "object" && details !== null && !Array.isArray(details) ? (details as ErrorDetails) : {};
  } catch {
    return {};
  }
}
