import { composeServices } from "@apollo/composition";
import { parse } from "graphql";
import { type GatewayOptions, type RunningGateway, startGateway } from "../../../gateway/main.ts";
import type { Role } from "../../../platform/auth/identity.ts";
import type { TokenVerifier } from "../../../platform/auth/jwt.ts";
import { FleetError } from "../../../platform/errors/fleet-error.ts";
import { createLogger } from "../../../platform/observability/log.ts";
import { Metrics } from "../../../platform/observability/metrics.ts";
import type { SubgraphHandler } from "../../../platform/subgraph-handler.ts";
import { createSubgraphHandler, type StoppableHandler } from "../../../subgraphs/kit/graphql/handler.ts";
import { serveSubgraph } from "../../../subgraphs/kit/graphql/serve.ts";
import type { SocketLimits } from "../../../subgraphs/kit/graphql/sockets.ts";
import { CuttableProxy } from "./cuttable-proxy.ts";
import { HardwareSubgraph } from "./hardware.ts";
import { HostsSubgraph } from "./hosts.ts";
import { RacksSubgraph } from "./racks.ts";

export type TransportKind = "in process" | "over HTTP";
export const TRANSPORTS: TransportKind[] = ["in process", "over HTTP"];

export const testLog = createLogger({ name: "test", level: process.env.LOG_LEVEL === "debug" ? "debug" : "silent" });

/** Tokens that say what they stand for: `token("ann")`. */
export function token(subject: string, options: { role?: Role; expiresAt?: number; serial?: number } = {}): string {
  const { role = "viewer", expiresAt = Date.now() + 3_600_000, serial = 0 } = options;
  return Buffer.from(JSON.stringify([subject, role, expiresAt, serial])).toString("base64url");
}

/** Takes what `token()` makes. The real verifier is tested where it lives; here tokens must expire at chosen milliseconds. */
export const testVerifier: TokenVerifier = {
  async verify(text) {
    try {
      const [subject, role, expiresAt] = JSON.parse(Buffer.from(text, "base64url").toString("utf8"));
      if (expiresAt <= Date.now()) throw new FleetError("TOKEN_EXPIRED", "The token has expired.");
      return { kind: "user", subject, role, expiresAt };
    } catch (error) {
      if (error instanceof FleetError) throw error;
      throw new FleetError("UNAUTHENTICATED", "The token is not valid.", { reason: "InvalidToken" });
    }
  },
};

export interface TestFleetOptions {
  bookmarkMs?: number;
  /** Of the subgraphs, where they are over HTTP. */
  subgraphSockets?: Partial<SocketLimits>;
  gateway?: Partial<GatewayOptions>;
}

/** A gateway over three subgraphs, with the ways to disturb it. */
export interface TestFleet {
  gateway: RunningGateway;
  metrics: Metrics;
  hosts: HostsSubgraph;
  hardware: HardwareSubgraph;
  supergraphSdl: string;
  /** The way to the hosts subgraph; null in process. */
  hostsProxy: CuttableProxy | null;
  hardwareProxy: CuttableProxy | null;
  /** The hosts subgraph drains as at a rolling update, and its successor takes over at once. */
  restartHosts(): Promise<void>;
  metric(name: string, labels?: Record<string, string>): Promise<number>;
  stop(): Promise<void>;
}

export async function startTestFleet(transport: TransportKind, options: TestFleetOptions = {}): Promise<TestFleet> {
  const hosts = new HostsSubgraph({ bookmarkMs: options.bookmarkMs });
  const hardware = new HardwareSubgraph();
  const parts = [hosts, hardware, new RacksSubgraph()];
  const metrics = new Metrics();
  const handlers = new Map<string, StoppableHandler>();
  const proxies = new Map<string, CuttableProxy>();
  const servers: { stop(graceMs?: number): Promise<void> }[] = [];
  const subgraphs: Record<string, SubgraphHandler | { url: string }> = {};
  const makeHandler = (part: (typeof parts)[number]) =>
    createSubgraphHandler({
      name: part.name,
      schema: part.schema,
      verifier: testVerifier,
      log: testLog,
      metrics: new Metrics(),
      createContext: (request) => ({ request }) as never,
    });
  for (const part of parts) {
    handlers.set(part.name, makeHandler(part));
    const current = (): StoppableHandler => handlers.get(part.name) as StoppableHandler;
    const handler: StoppableHandler = {
      name: part.name,
      get accepting() {
        return current().accepting;
      },
      execute: (request) => current().execute(request),
      subscribe: (request) => current().subscribe(request),
      drain: (graceMs) => current().drain(graceMs),
    };
    if (transport === "in process") {
      subgraphs[part.name] = handler;
      continue;
    }
    const server = await serveSubgraph(handler, {
      ...{ host: "127.0.0.1", port: 0, log: testLog, metrics: new Metrics() },
      sockets: options.subgraphSockets,
    });
    const proxy = await CuttableProxy.open(server.port);
    servers.push(server);
    proxies.set(part.name, proxy);
    subgraphs[part.name] = { url: `http://127.0.0.1:${proxy.port}/graphql` };
  }
  const supergraphSdl = compose(parts);
  const gateway = await startGateway({
    supergraphSdl,
    subgraphs,
    verifier: testVerifier,
    host: "127.0.0.1",
    port: 0,
    log: testLog,
    metrics,
    ...options.gateway,
  });
  return {
    gateway,
    metrics,
    hosts,
    hardware,
    supergraphSdl,
    hostsProxy: proxies.get("hosts") ?? null,
    hardwareProxy: proxies.get("hardware") ?? null,
    async restartHosts() {
      const old = handlers.get("hosts");
      handlers.set("hosts", makeHandler(hosts));
      await old?.drain(100);
    },
    async metric(name, labels = {}) {
      const { values = [] } = (await metrics.registry.getSingleMetric(name)?.get()) ?? {};
      const wanted = values.filter((value) => Object.entries(labels).every(([key, of]) => value.labels[key] === of));
      return wanted.reduce((sum, { value }) => sum + value, 0);
    },
    async stop() {
      await gateway.stop();
      for (const server of servers) await server.stop(100);
      for (const proxy of proxies.values()) await proxy.cut();
      for (const handler of handlers.values()) await handler.drain(0);
    },
  };
}

export function compose(parts: readonly { name: string; sdl: string }[]): string {
  const { supergraphSdl, errors } = composeServices(
    parts.map(({ name, sdl }) => ({ name, url: `http://${name}.invalid/graphql`, typeDefs: parse(sdl) })),
  );
  if (!supergraphSdl) throw new Error(`No supergraph: ${errors?.map(({ message }) => message).join("; ")}`);
  return supergraphSdl;
}
