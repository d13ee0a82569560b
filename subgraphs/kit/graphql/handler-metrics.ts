import type { ExecutionResult } from "graphql";
import type { FleetError } from "../../../platform/errors/fleet-error.ts";
import type { Metrics } from "../../../platform/observability/metrics.ts";

/** What a subgraph's handler counts. Labels: the subgraph, and the code of the first error or OK. */
export class HandlerMetrics {
  readonly #subgraph: string;
  readonly #requests;
  readonly #seconds;
  readonly #streams;
  readonly #streamEnds;
  readonly #events;

  constructor(subgraph: string, metrics: Metrics) {
    this.#subgraph = subgraph;
    const label = ["subgraph"];
    this.#requests = metrics.counter("fleetgraph_subgraph_requests_total", "Queries and mutations answered.", ["subgraph", "code"]);
    this.#seconds = metrics.histogram("fleetgraph_subgraph_request_seconds", "Time to answer a query or mutation.", label);
    this.#streams = metrics.gauge("fleetgraph_subgraph_subscriptions", "Subscriptions that are open.", label);
    this.#streamEnds = metrics.counter("fleetgraph_subgraph_subscription_ends_total", "Subscriptions that ended.", ["subgraph", "code"]);
    this.#events = metrics.counter("fleetgraph_subgraph_events_total", "Events resolved for subscriptions.", label);
  }

  answered(result: ExecutionResult, milliseconds: number): void {
    const code = String(result.errors?.[0]?.extensions?.code ?? "OK");
    this.#requests.inc({ subgraph: this.#subgraph, code });
    this.#seconds.observe({ subgraph: this.#subgraph }, milliseconds / 1000);
  }

  streamStarted(): void {
    this.#streams.inc({ subgraph: this.#subgraph });
  }

  streamEnded(reason: FleetError | null): void {
    this.#streams.dec({ subgraph: this.#subgraph });
    this.#streamEnds.inc({ subgraph: this.#subgraph, code: reason?.code ?? "OK" });
  }

  eventResolved(): void {
    this.#events.inc({ subgraph: this.#subgraph });
  }
}
