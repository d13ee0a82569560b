import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";

/** The buckets of durations in seconds: a call in process takes a tenth of a millisecond, a slow host ten seconds. */
export const DURATION_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/**
 * A process's metrics, made by the entry point and passed on. Asking twice for a name gives the same metric,
 * so that parts that live in one process share what they count. Names start with `fleetgraph_` and carry their unit.
 */
export class Metrics {
  readonly registry = new Registry();

  /** `runtime` adds what Node tells about itself: memory, CPU, event loop lag, garbage collection. */
  constructor(options: { runtime?: boolean } = {}) {
    if (options.runtime === true) collectDefaultMetrics({ register: this.registry });
  }

  counter(name: string, help: string, labels: readonly string[] = []): Counter {
    return this.#known(name, Counter) ?? new Counter({ name, help, labelNames: labels, registers: [this.registry] });
  }

  /** `collect` sets the gauge when the metrics are read, for values that are kept elsewhere. */
  gauge(name: string, help: string, labels: readonly string[] = [], collect?: (gauge: Gauge) => void | Promise<void>): Gauge {
    const known = this.#known(name, Gauge);
    if (known) return known;
    return new Gauge({
      name,
      help,
      labelNames: labels,
      registers: [this.registry],
      ...(collect && {
        collect(this: Gauge) {
          return collect(this);
        },
      }),
    });
  }

  histogram(name: string, help: string, labels: readonly string[] = [], buckets: readonly number[] = DURATION_BUCKETS): Histogram {
    return (
      this.#known(name, Histogram) ?? new Histogram({ name, help, labelNames: labels, buckets: [...buckets], registers: [this.registry] })
    );
  }

  /** In the Prometheus text format; `contentType` is its media type. */
  text(): Promise<string> {
    return this.registry.metrics();
  }

  get contentType(): string {
    return this.registry.contentType;
  }

  #known<T>(name: string, kind: abstract new (...args: never[]) => T): T | undefined {
    const metric: unknown = this.registry.getSingleMetric(name);
    if (metric === undefined) return undefined;
    if (metric instanceof kind) return metric;
    throw new Error(`The metric ${name} is already registered as another kind.`);
  }
}
