import type { Logger } from "../../platform/observability/log.ts";
import type { DataSources } from "../execution/executor.ts";
import type { GatewayLimits } from "../limits.ts";
import type { GatewayMetrics } from "../metrics.ts";
import type { SubgraphTransport } from "../transport/subgraph-transport.ts";
import type { EventSink, SubscriptionHandle } from "./event-sink.ts";
import { SharedStream } from "./shared-stream.ts";
import type { StreamEnd } from "./stream-end.ts";
import type { StartPosition, SubscriptionOperation } from "./subscription-operation.ts";
import type { Credentials } from "./upstream.ts";

export interface SubscribeRequest {
  readonly operation: SubscriptionOperation;
  /** As the client sent them, once they have been found to fit. */
  readonly variables: Record<string, unknown>;
  readonly start: StartPosition;
  readonly credentials: Credentials;
  readonly transport: SubgraphTransport;
  readonly dataSources: DataSources;
  readonly sink: EventSink;
}

/** All subscriptions of all clients: those that ask for the same in the same name share one stream, where it can be resumed. */
export class SubscriptionHub {
  readonly #streams = new Map<string, SharedStream>();
  readonly #limits: GatewayLimits;
  readonly #metrics: GatewayMetrics;
  readonly #log: Logger;
  #alone = 0;

  constructor(limits: GatewayLimits, metrics: GatewayMetrics, log: Logger) {
    this.#limits = limits;
    this.#metrics = metrics;
    this.#log = log;
  }

  subscribe({ operation, variables, start, credentials, transport, dataSources, sink }: SubscribeRequest): SubscriptionHandle {
    const used = Object.fromEntries(
      operation.variableNames.flatMap((name) => (Object.hasOwn(variables, name) ? [[name, variables[name]]] : [])),
    );
    const key = operation.resumable ? sharingKey(operation, used, credentials) : this.#keyOfOne();
    let stream = this.#streams.get(key);
    if (!stream) {
      const created: SharedStream = new SharedStream({
        operation,
        variables: used,
        transport,
        dataSources,
        limits: this.#limits,
        metrics: this.#metrics,
        log: this.#log,
        onEmpty: () => {
          if (this.#streams.get(key) === created) this.#streams.delete(key);
        },
      });
      stream = created;
      this.#streams.set(key, stream);
    }
    return stream.join(sink, credentials, start);
  }

  /** Ends every subscription for one reason. */
  endAll(reason: StreamEnd): void {
    for (const stream of [...this.#streams.values()]) stream.end(reason);
  }

  /** Only a stream with cursors tells a client that comes later what it has missed; any other is each client's own, from its beginning on. */
  #keyOfOne(): string {
    this.#alone += 1;
    return `alone ${this.#alone}`;
  }
}

/** Operation, variables and identity. */
function sharingKey(operation: SubscriptionOperation, variables: Record<string, unknown>, { identity, token }: Credentials): string {
  const who = identity?.kind === "user" ? [identity.subject, identity.role] : [identity, token];
  return JSON.stringify([operation.prepared.snapshot.id, operation.text, sorted(variables), who]);
}

/** The same JSON for equal values, whatever the order of their keys. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, item]) => [key, sorted(item)]),
  );
}
