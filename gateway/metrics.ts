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
    upstreams: metrics.gauge("fleetgraph_gateway_upstreams", "Subscriptions to subgraphs, shared or private (a client that catches up).", [
      "kind",
    ]),
    events: metrics.counter("fleetgraph_gateway_events_total", "Events resolved, once for all clients that share them."),
    deliveries: metrics.counter("fleetgraph_gateway_deliveries_total", "Events sent to clients."),
    splices: metrics.counter("fleetgraph_gateway_splices_total", "Clients that left their catch-up for the shared stream."),
    resumes: metrics.counter("fleetgraph_gateway_resumes_total", "Upstreams that were lost and subscribed again.", ["subgraph"]),
  };
}
