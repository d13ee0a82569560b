import type { AddressInfo } from "node:net";
import type { TokenVerifier } from "../platform/auth/jwt.ts";
import { FleetError } from "../platform/errors/fleet-error.ts";
import type { Logger } from "../platform/observability/log.ts";
import type { Metrics } from "../platform/observability/metrics.ts";
import { Graph, type SubgraphLocation } from "./execution/graph.ts";
import { DEFAULT_LIMITS, type GatewayLimits } from "./limits.ts";
import { gatewayMetrics } from "./metrics.ts";
import { createApolloServer } from "./server/apollo.ts";
import { createHttpServer, type ExchangeCode, type StaticFiles } from "./server/http-server.ts";
import { Origins } from "./server/origins.ts";
import { Readiness } from "./server/readiness.ts";
import { SocketServer } from "./server/socket-server.ts";
import { StreamEnd } from "./subscriptions/stream-end.ts";
import { SubscriptionHub } from "./subscriptions/subscription-hub.ts";

export interface GatewayOptions {
  readonly supergraphSdl: string;
  /** By the names of the supergraph: a handler in this process, or a URL (subscriptions go to the same address by WebSocket). */
  readonly subgraphs: Readonly<Record<string, SubgraphLocation>>;
  readonly verifier: TokenVerifier;
  readonly host: string;
  /** 0 for any free one. */
  readonly port: number;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** Origins of other sites whose pages may use the gateway, as `https://host[:port]`. */
  readonly origins?: readonly string[];
  /** Serves the page's files; asked for every GET that is nothing else. */
  readonly serveStatic?: StaticFiles;
  /** For `POST /auth/exchange`; without it there is no such address. */
  readonly exchangeCode?: ExchangeCode;
  readonly limits?: Partial<GatewayLimits>;
}

export interface RunningGateway {
  /** http://host:port, without a path. */
  readonly url: string;
  readonly port: number;
  /** Takes over another supergraph while requests go on; throws FAILED_PRECONDITION and keeps the old one where it cannot be served. */
  swapSupergraph(sdl: string): boolean;
  /** Tells clients to come back elsewhere, waits for what is in flight, and closes everything. Bounded; a second call joins the first. */
  stop(): Promise<void>;
}

const GRAPHQL_PATH = "/graphql";

/** Starts the gateway. Throws FAILED_PRECONDITION for a supergraph that cannot be served or an address that is taken. */
export async function startGateway(options: GatewayOptions): Promise<RunningGateway> {
  const { verifier, log, metrics: registry, host, port } = options;
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const metrics = gatewayMetrics(registry);
  const graph = new Graph({ supergraphSdl: options.supergraphSdl, subgraphs: options.subgraphs, limits, metrics, log });
  const apollo = createApolloServer(graph, limits, metrics, log);
  await apollo.start();
  const hub = new SubscriptionHub(limits, metrics, log);
  const origins = new Origins(options.origins);
  const readiness = new Readiness(graph);
  const sockets = new SocketServer(GRAPHQL_PATH, origins, { graph, apollo, hub, verifier, limits, metrics, log });
  const server = createHttpServer({
    path: GRAPHQL_PATH,
    apollo,
    verifier,
    limits,
    log,
    origins,
    readiness,
    registry,
    serveStatic: options.serveStatic,
    exchangeCode: options.exchangeCode,
  });
  server.on("upgrade", (request, stream, head) => sockets.upgrade(request, stream, head));
  await listen(server, host, port);

  const stop = async () => {
    readiness.drain();
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    const timer = setTimeout(() => server.closeAllConnections(), limits.drainMs);
    await sockets.drain(limits.drainMs);
    server.closeIdleConnections();
    await closed;
    clearTimeout(timer);
    await apollo.stop();
    await graph.close();
  };
  let stopped: Promise<void> | null = null;
  const { port: boundPort } = server.address() as AddressInfo;
  return {
    url: `http://${host.includes(":") ? `[${host}]` : host}:${boundPort}`,
    port: boundPort,
    swapSupergraph(sdl) {
      const swapped = graph.swap(sdl);
      if (swapped) sockets.endAll(StreamEnd.from(new FleetError("SCHEMA_CHANGED", "The schema has changed: subscribe again.")));
      return swapped;
    },
    stop() {
      stopped ??= stop();
      return stopped;
    },
  };
}

function listen(server: ReturnType<typeof createHttpServer>, host: string, port: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onError = (error: NodeJS.ErrnoException) => {
    const why = error.code === "EADDRINUSE" ? "the address is taken" : (error.code ?? error.message);
    reject(new FleetError("FAILED_PRECONDITION", `The gateway cannot listen on ${host}:${port}: ${why}.`, { cause: error }));
  };
  server.once("error", onError);
  server.listen(port, host, () => {
    server.off("error", onError);
    resolve();
  });
  return promise;
}
