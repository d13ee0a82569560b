import { GraphQLError } from "graphql";
import { type ErrorCode, isErrorCode } from "./codes.ts";

/** What a caller needs to act on an error: the field at fault, the id asked for, a state, reasons per node. JSON only. */
export type ErrorDetails = Record<string, unknown>;

export interface FleetErrorOptions {
  /** A domain's own name for the case, such as InsufficientVRAM. */
  reason?: string;
  details?: ErrorDetails;
  /** Kept for the log; never sent. */
  cause?: unknown;
}

/** The one error that leaves a service. Its message is for the caller: no internals, no addresses. */
export class FleetError extends Error {
  override readonly name = "FleetError";
  readonly code: ErrorCode;
  readonly reason: string | undefined;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, message: string, options: FleetErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.reason = options.reason;
    this.details = options.details ?? {};
  }

  /**
   * Any thrown value as a FleetError: itself, the FleetError inside a GraphQLError, an abort as CANCELLED,
   * a time-out as DEADLINE_EXCEEDED, everything else as a masked INTERNAL with the original as `cause`.
   */
  static from(error: unknown): FleetError {
    if (error instanceof FleetError) return error;
    if (error instanceof GraphQLError) {
      if (error.originalError) return FleetError.from(error.originalError);
      const { code, reason, ...details } = error.extensions;
      if (isErrorCode(code)) return new FleetError(code, error.message, { reason: reason as string | undefined, details });
    }
    if (error instanceof Error && error.name === "AbortError")
      return new FleetError("CANCELLED", "The request was cancelled.", { cause: error });
    if (error instanceof Error && error.name === "TimeoutError") {
      return new FleetError("DEADLINE_EXCEEDED", "The deadline passed before the answer was ready.", { cause: error });
    }
    return new FleetError("INTERNAL", "Internal error. The request id leads to the cause in the log.", { cause: error });
  }
}

/** `INVALID_ARGUMENT` that names the field at fault. */
export function invalidArgument(field: string, message: string, details: ErrorDetails = {}): FleetError {
  return new FleetError("INVALID_ARGUMENT", message, { details: { field, ...details } });
}

/** `NOT_FOUND` for an object by its kind and id. */
export function notFound(kind: string, id: string): FleetError {
  return new FleetError("NOT_FOUND", `${kind} ${JSON.stringify(id)} does not exist.`, { details: { kind, id } });
}
