import { type ExecutionResult, GraphQLError, type GraphQLFormattedError } from "graphql";
import { isErrorCode } from "../../../platform/errors/codes.ts";
import { FleetError } from "../../../platform/errors/fleet-error.ts";
import type { Logger } from "../../../platform/observability/log.ts";

/** Codes that GraphQL clients already know; they stay as they are. */
export type GraphQLCode =
  | "GRAPHQL_PARSE_FAILED"
  | "GRAPHQL_VALIDATION_FAILED"
  | "BAD_USER_INPUT"
  | "OPERATION_RESOLUTION_FAILURE"
  | "BAD_REQUEST";

const GRAPHQL_CODES: ReadonlySet<string> = new Set<GraphQLCode>([
  "GRAPHQL_PARSE_FAILED",
  "GRAPHQL_VALIDATION_FAILED",
  "BAD_USER_INPUT",
  "OPERATION_RESOLUTION_FAILURE",
  "BAD_REQUEST",
]);

/** An error of GraphQL itself (document, variables) on the wire: its message is graphql-js' own and safe. */
export function graphqlErrorToWire(error: GraphQLError, code: GraphQLCode): GraphQLFormattedError {
  return wire(error, error.message, { code });
}

/** An error before there is anything to execute. */
export function fleetErrorToWire(error: FleetError): GraphQLFormattedError {
  return { message: error.message, extensions: extensionsOf(error) };
}

/** Whatever execution collected, on the wire: FleetErrors as they are, input errors as BAD_USER_INPUT, all else masked and logged. */
export function executionErrorToWire(error: GraphQLError, log: Logger): GraphQLFormattedError {
  const origin = originOf(error);
  const code = origin instanceof GraphQLError ? origin.extensions.code : undefined;
  if (origin instanceof GraphQLError && !isErrorCode(code)) {
    if (typeof code === "string" && GRAPHQL_CODES.has(code)) return wire(error, origin.message, origin.extensions);
    if (isInputError(error, origin)) return wire(error, error.message, { code: "BAD_USER_INPUT" });
  }
  const fleetError = FleetError.from(error);
  logMasked(fleetError, log, error.path);
  return wire(error, fleetError.message, extensionsOf(fleetError));
}

/** Writes what is masked to the log, where the request id leads to. */
export function logMasked(error: FleetError, log: Logger, path?: readonly (string | number)[]): void {
  if (error.code === "INTERNAL") log.error({ err: error.cause ?? error, path: path?.join(".") }, "request failed");
}

/** The innermost error that graphql-js has wrapped. */
function originOf(error: GraphQLError): Error {
  let origin: Error = error;
  while (origin instanceof GraphQLError && origin.originalError) origin = origin.originalError;
  return origin;
}

/** Variables fail before there is a path; arguments fail at their field, but graphql-js points at the argument's own node. */
function isInputError(error: GraphQLError, origin: GraphQLError): boolean {
  return error.path === undefined || (origin !== error && origin.nodes !== undefined);
}

function extensionsOf(error: FleetError): Record<string, unknown> {
  const head = error.reason === undefined ? { code: error.code } : { code: error.code, reason: error.reason };
  return { ...head, ...error.details, ...head };
}

function wire(error: GraphQLError, message: string, extensions: Record<string, unknown>): GraphQLFormattedError {
  return {
    message,
    ...(error.locations ? { locations: error.locations.map(({ line, column }) => ({ line, column })) } : {}),
    ...(error.path ? { path: [...error.path] } : {}),
    extensions,
  };
}

/** A result that is only errors. graphql-js declares error objects where the wire has their JSON form. */
export function wireResult(errors: GraphQLFormattedError[]): ExecutionResult {
  return { errors: errors as unknown as ExecutionResult["errors"] & object };
}
