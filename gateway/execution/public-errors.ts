import { GraphQLError, type GraphQLFormattedError } from "graphql";
import { FleetError } from "../../platform/errors/fleet-error.ts";
import type { Logger } from "../../platform/observability/log.ts";
import { faultToGraphQLError } from "../transport/faults.ts";

/** What the executor adds for itself, and what subgraphs of other makes let slip. */
const PRIVATE_EXTENSIONS = new Set(["serviceName", "stacktrace", "stackTrace", "exception", "originalError", "http"]);

/** A symbol, because the executor copies extensions and nothing of this must be sent: the path of a fetch that failed as a whole. */
const FETCH_PATH = Symbol("fetch path");

/** Marks the errors of a failed fetch with where in the answer its data would have been: up to the first list, beyond which it has no one place. */
export function atFetchPath(error: GraphQLError, path: readonly (string | number)[]): GraphQLError {
  const list = path.indexOf("@");
  const place = list < 0 ? path : path.slice(0, list);
  if (place.length === 0) return error;
  return new GraphQLError(error.message, { extensions: { ...error.extensions, [FETCH_PATH]: place } });
}

/**
 * The errors of an execution as clients may see them: those of subgraphs keep message, code, details and path;
 * whatever else was thrown is masked as INTERNAL and logged. `Variable …` errors keep their nodes, by which Apollo Server knows them.
 */
export function publicErrors(errors: readonly unknown[], log: Logger): GraphQLError[] {
  return errors.map((error) => {
    if (error instanceof FleetError) return faultToGraphQLError(error);
    if (!(error instanceof GraphQLError)) return masked(error, log);
    if (error.extensions.serviceName !== undefined) return fromSubgraph(error);
    if (error.originalError instanceof FleetError) return faultToGraphQLError(error.originalError, error.path);
    if (error.originalError instanceof Error && !(error.originalError instanceof GraphQLError))
      return masked(error.originalError, log, error);
    return error;
  });
}

/** The extensions of a subgraph's error that clients may see. */
export function publicExtensions(all: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const extensions: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(all)) if (!PRIVATE_EXTENSIONS.has(key)) extensions[key] = value;
  return extensions;
}

function fromSubgraph(error: GraphQLError): GraphQLError {
  const extensions = publicExtensions(error.extensions);
  const fetchPath = (error.extensions as Record<symbol, unknown>)[FETCH_PATH] as readonly (string | number)[] | undefined;
  return new GraphQLError(error.message, { path: error.path ?? fetchPath, extensions });
}

function masked(error: unknown, log: Logger, located?: GraphQLError): GraphQLError {
  log.error({ err: error }, "unexpected error in an execution");
  return faultToGraphQLError(FleetError.from(error), located?.path);
}

/**
 * What the stock executor reports aside, as `extensions.valueCompletion`: a null, or a value of the wrong type, where the schema has none.
 * It is an error like any other: the data is gone from the answer.
 */
export function completionErrors(faults: unknown): GraphQLError[] {
  if (!Array.isArray(faults)) return [];
  return faults.map(
    (fault: GraphQLFormattedError) =>
      new GraphQLError(fault.message, { path: fault.path, extensions: { code: "INTERNAL", reason: "InvalidSubgraphAnswer" } }),
  );
}

/** The last step for everything that Apollo Server answers: no error of a library's own wording gets out as an internal one. */
export function formatError(formatted: GraphQLFormattedError, error: unknown): GraphQLFormattedError {
  if (error instanceof GraphQLError && error.extensions.code !== undefined) return formatted;
  if (formatted.extensions?.code !== "INTERNAL_SERVER_ERROR") return formatted;
  const cause = error instanceof GraphQLError ? (error.originalError ?? error) : error;
  const { message, code, reason, details } = FleetError.from(cause);
  return { message, ...(formatted.path && { path: formatted.path }), extensions: { ...details, ...(reason && { reason }), code } };
}
