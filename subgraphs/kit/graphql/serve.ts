import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Logger } from "../../../platform/observability/log.ts";
import type { Metrics } from "../../../platform/observability/metrics.ts";
import { requestIdFrom } from "../../../platform/request-context.ts";
import type { StoppableHandler } from "./handler.ts";
import { HttpRefusal, readGraphQLRequest } from "./http-request.ts";
import { GraphQLSockets, type SocketLimits } from "./sockets.ts";

export interface ServeOptions {
  host: string;
  /** 0 picks a free one. */
  port: number;
  log: Logger;
  metrics: Metrics;
  /** For /readyz: whether what the subgraph needs (database, peers) is there. */
  ready?: () => boolean | Promise<boolean>;
  sockets?: Partial<SocketLimits>;
}

export interface RunningServer {
  /** Of the GraphQL endpoint, with the address that it is bound to. */
  url: string;
  port: number;
  /** Ends subscriptions with DRAINING, answers what is in flight for at most `graceMs`, then closes. */
  stop(graceMs?: number): Promise<void>;
}

/** Above what load balancers and clients keep idle connections for, so that they close first. */
const KEEP_ALIVE_MS = 75_000;
/** A gateway holds some dozens. */
const MAX_CONNECTIONS = 5000;
const DEFAULT_GRACE_MS = 5000;

/** A subgraph on a port: POST and WebSocket on /graphql, GET /healthz, /readyz and /metrics. */
export async function serveSubgraph(handler: StoppableHandler, options: ServeOptions): Promise<RunningServer> {
  const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS, requestTimeout: 30_000 }, (request, response) => {
    void respond(handler, options, request, response);
  });
  server.maxConnections = MAX_CONNECTIONS;
  const sockets = new GraphQLSockets(handler, options.log, options.sockets);
  server.on("upgrade", (request, socket, head) => sockets.upgrade(request, socket, head));
  await listen(server, options);
  const { port } = server.address() as AddressInfo;
  const host = options.host.includes(":") ? `[${options.host}]` : options.host;
  return {
    url: `http://${host}:${port}/graphql`,
    port,
    async stop(graceMs = DEFAULT_GRACE_MS) {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      await handler.drain(graceMs);
      await sockets.close(graceMs);
      server.closeIdleConnections();
      const timer = setTimeout(() => server.closeAllConnections(), graceMs);
      await closed;
      clearTimeout(timer);
    },
  };
}

function listen(server: Server, { host, port }: ServeOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

async function respond(
  handler: StoppableHandler,
  options: ServeOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  try {
    const path = request.url?.split("?", 1)[0];
    if (path === "/graphql") await answerGraphQL(handler, request, response);
    else if (path === "/healthz") send(response, 200, "text/plain", "ok\n");
    else if (path === "/readyz") await answerReady(handler, options, response);
    else if (path === "/metrics") send(response, 200, options.metrics.contentType, await options.metrics.text());
    else send(response, 404, "text/plain", "Not found. GraphQL is at /graphql.\n");
  } catch (error) {
    if (error instanceof HttpRefusal) {
      response.setHeader("connection", "close");
      sendJson(response, error.status, { errors: [{ message: error.message, extensions: { code: "BAD_REQUEST" } }] });
      return;
    }
    options.log.error({ err: error }, "HTTP request failed");
    sendJson(response, 500, { errors: [{ message: "Internal error.", extensions: { code: "INTERNAL" } }] });
  }
}

async function answerGraphQL(handler: StoppableHandler, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const requestId = requestIdFrom(request.headers["x-request-id"]);
  response.setHeader("x-request-id", requestId);
  const gone = new AbortController();
  response.once("close", () => gone.abort());
  const graphql = await readGraphQLRequest(request);
  graphql.headers["x-request-id"] = requestId;
  const result = await handler.execute({ ...graphql, signal: gone.signal });
  // So that stopping does not wait for clients to let go of idle connections.
  if (!handler.accepting) response.setHeader("connection", "close");
  sendJson(response, 200, result);
}

async function answerReady(handler: StoppableHandler, { ready }: ServeOptions, response: ServerResponse): Promise<void> {
  const isReady = handler.accepting && ((await ready?.()) ?? true);
  send(response, isReady ? 200 : 503, "text/plain", isReady ? "ready\n" : "not ready\n");
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  send(response, status, "application/json; charset=utf-8", JSON.stringify(body));
}

function send(response: ServerResponse, status: number, contentType: string, body: string): void {
  if (response.headersSent || response.destroyed) return;
  response.writeHead(status, {
    "content-type": contentType,
    "content-length": Buffer.byteLength(body),
    "x-content-type-options": "nosniff",
  });
  response.end(body);
}
