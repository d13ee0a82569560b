import { FleetError } from "../../platform/errors/fleet-error.ts";
import type { Logger } from "../../platform/observability/log.ts";
import type { SubgraphHandler } from "../../platform/subgraph-handler.ts";
import type { GatewayLimits } from "../limits.ts";
import type { GatewayMetrics } from "../metrics.ts";
import type { SupergraphSnapshot } from "../supergraph/snapshot.ts";
import { SupergraphHolder } from "../supergraph/supergraph-holder.ts";
import { HttpTransport } from "../transport/http-transport.ts";
import { InProcessTransport } from "../transport/in-process-transport.ts";
import type { SubgraphTransport } from "../transport/subgraph-transport.ts";
import { SubgraphDataSource } from "./data-source.ts";
import type { DataSources } from "./executor.ts";
import { OperationCache } from "./prepared-operation.ts";

/** A subgraph in this process, or where it is. */
export type SubgraphLocation = SubgraphHandler | { readonly url: string };

export interface GraphOptions {
  readonly supergraphSdl: string;
  /** By name; one that is missing is sought at the URL that the supergraph gives. */
  readonly subgraphs: Readonly<Record<string, SubgraphLocation>>;
  readonly limits: GatewayLimits;
  readonly metrics: GatewayMetrics;
  readonly log: Logger;
}

/** The supergraph in use, the ways to its subgraphs, and what is remembered about operations. */
export class Graph {
  readonly supergraph: SupergraphHolder;
  readonly #options: GraphOptions;
  readonly #transports = new Map<string, SubgraphTransport>();
  readonly #dataSources: Record<string, SubgraphDataSource> = Object.create(null);
  readonly #operations = new WeakMap<SupergraphSnapshot, OperationCache>();

  /** Throws FAILED_PRECONDITION for a supergraph that cannot be served. */
  constructor(options: GraphOptions) {
    this.#options = options;
    this.supergraph = new SupergraphHolder(options.supergraphSdl);
    this.#connect(this.supergraph.current);
  }

  get dataSources(): DataSources {
    return this.#dataSources;
  }

  /** Takes over a new supergraph, or throws FAILED_PRECONDITION and keeps the old one. */
  swap(sdl: string): boolean {
    return this.supergraph.swap(sdl, (snapshot) => this.#connect(snapshot));
  }

  operations(snapshot: SupergraphSnapshot = this.supergraph.current): OperationCache {
    let cache = this.#operations.get(snapshot);
    if (!cache) {
      cache = new OperationCache(snapshot, this.#options.limits);
      this.#operations.set(snapshot, cache);
    }
    return cache;
  }

  transport(subgraph: string): SubgraphTransport {
    const transport = this.#transports.get(subgraph);
    if (!transport) throw new FleetError("INTERNAL", `There is no way to the subgraph ${JSON.stringify(subgraph)}.`);
    return transport;
  }

  /** Per subgraph in use null, or why it cannot be reached. */
  async unreachable(): Promise<Record<string, string | null>> {
    const names = this.supergraph.current.subgraphs.map(({ name }) => name);
    const answers = await Promise.all(names.map((name) => this.transport(name).unreachable(this.#options.limits.readyMs)));
    return Object.fromEntries(names.map((name, index) => [name, answers[index] ?? null]));
  }

  async close(): Promise<void> {
    await Promise.all([...this.#transports.values()].map((transport) => transport.close()));
  }

  /** All or nothing: a subgraph without a place refuses the supergraph. */
  #connect(snapshot: SupergraphSnapshot): void {
    const { subgraphs, limits, metrics, log } = this.#options;
    const added: SubgraphTransport[] = [];
    for (const { name, url } of snapshot.subgraphs) {
      if (this.#transports.has(name)) continue;
      const location = subgraphs[name] ?? { url };
      if ("url" in location) added.push(new HttpTransport(name, httpUrl(name, location.url), limits, log));
      else added.push(new InProcessTransport(name, location, limits, log));
    }
    for (const transport of added) {
      this.#transports.set(transport.name, transport);
      this.#dataSources[transport.name] = new SubgraphDataSource(transport, metrics);
    }
  }
}

function httpUrl(subgraph: string, url: string): string {
  const parsed = URL.parse(url);
  if (parsed && ["http:", "https:"].includes(parsed.protocol)) return parsed.href;
  throw new FleetError("FAILED_PRECONDITION", `The subgraph ${JSON.stringify(subgraph)} has no http(s) URL.`, { reason: "NoSubgraphUrl" });
}
