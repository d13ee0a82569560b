import { isErrorCode } from "../platform/errors/codes.ts";
import type { Metrics } from "../platform/observability/metrics.ts";

/** What the gateway counts. */
export type GatewayMetrics = ReturnType<typeof gatewayMetrics>;

export function gatewayMetrics(metrics: Metrics) {
  return {
    operationSeconds: metrics.histogram(
      "fleetgraph_gateway_operation_seconds",
      "Queries and mutations, by type and outcome (ok, partial, error).",
      ["type", "outcome"],
    ),
    fetchSeconds: metrics.histogram("fleetgraph_gateway_fetch_seconds", "Fetches from subgraphs.", ["subgraph"]),
    errors: metrics.counter("fleetgraph_gateway_errors_total", "Errors in answers and at the end of subscriptions, by code.", ["code"]),
    sockets: metrics.gauge("fleetgraph_gateway_sockets", "Open WebSockets of clients."),
    subscriptions: metrics.gauge("fleetgraph_gateway_subscriptions", "Subscriptions of clients."),
    upstreams: metrics.gauge(
      "fleetgraph_gateway_upstreams",
      "Subscriptions to subgraphs: shared ones, and those of clients that catch up.",
    ),
    events: metrics.counter("fleetgraph_gateway_events_total", "Events resolved, once for all clients that share them."),
    deliveries: metrics.counter("fleetgraph_gateway_deliveries_total", "Events sent to clients."),
    splices: metrics.counter("fleetgraph_gateway_splices_total", "Clients that left their catch-up for the shared stream."),
    resumes: metrics.counter("fleetgraph_gateway_resumes_total", "Upstreams that were lost and subscribed again.", ["subgraph"]),
  };
}

/** Codes of GraphQL itself, beside those of our own table. */
const GRAPHQL_CODES: ReadonlySet<unknown> = new Set([
  "BAD_REQUEST",
  "BAD_USER_INPUT",
  "DOWNSTREAM_SERVICE_ERROR",
  "GRAPHQL_PARSE_FAILED",
  "GRAPHQL_VALIDATION_FAILED",
  "OPERATION_RESOLUTION_FAILURE",
  "PERSISTED_QUERY_NOT_FOUND",
]);

/** An error's code as a label: what subgraphs of other makes invent is one label, so that their number stays bounded. */
export function codeLabel(code: unknown): string {
  return isErrorCode(code) || GRAPHQL_CODES.has(code) ? String(code) : "OTHER";
}
