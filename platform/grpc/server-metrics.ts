import type { Counter, Histogram } from "prom-client";
import type { ErrorCode } from "../errors/codes.ts";
import type { Metrics } from "../observability/metrics.ts";

/** Counts the calls of one method. */
export class MethodMetrics {
  readonly #handled: Counter;
  readonly #durations: Histogram.Internal<string>;
  readonly #labels: { grpc_service: string; grpc_method: string };
  /** By code, because finding a labelled counter costs more than counting. */
  readonly #counters = new Map<string, Counter.Internal>();

  constructor(metrics: Metrics, service: string, method: string) {
    this.#labels = { grpc_service: service, grpc_method: method };
    this.#handled = metrics.counter("grpc_server_handled_total", "Calls that ended, by our error code or OK.", [
      "grpc_service",
      "grpc_method",
      "code",
    ]);
    this.#durations = metrics
      .histogram("grpc_server_handling_seconds", "Duration of unary calls, and of streams until they ended.", [
        "grpc_service",
        "grpc_method",
      ])
      .labels(this.#labels);
  }

  /** `startedAt` by `performance.now()`. */
  ended(code: ErrorCode | "OK", startedAt: number): void {
    let counter = this.#counters.get(code);
    if (counter === undefined) {
      counter = this.#handled.labels({ ...this.#labels, code });
      this.#counters.set(code, counter);
    }
    counter.inc();
    this.#durations.observe((performance.now() - startedAt) / 1000);
  }
}
