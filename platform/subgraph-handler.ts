import type { ExecutionResult } from "graphql";

/** One GraphQL request to a subgraph, the same in process and over HTTP or graphql-ws. */
export interface SubgraphRequest {
  query: string;
  operationName?: string | undefined;
  variables?: Record<string, unknown> | undefined;
  /** Lower-case names. What matters: `authorization`, `x-request-id`. */
  headers: Record<string, string>;
  /** Milliseconds that are left for a query or mutation (`x-deadline-ms` over HTTP). */
  deadlineMs?: number | undefined;
  /** The caller went away. */
  signal?: AbortSignal | undefined;
}

/**
 * A subgraph as its callers see it. Both transports of the gateway and the subgraph's own HTTP server stand on this,
 * so that authentication, deadline, cancellation and masking are the same on every way in. Answers hold JSON primitives only.
 */
export interface SubgraphHandler {
  readonly name: string;
  /** Never throws: errors are in the result. */
  execute(request: SubgraphRequest): Promise<ExecutionResult>;
  /**
   * A stream of results. A refusal (bad document, no rights) is one result with `errors` and no `data`, then the end.
   * It ends with such a coded result too when it cannot go on (TOKEN_EXPIRED, CURSOR_EXPIRED, DRAINING).
   * `return()` and the request's signal release everything at once, also while it is quiet.
   */
  subscribe(request: SubgraphRequest): AsyncIterableIterator<ExecutionResult>;
}
