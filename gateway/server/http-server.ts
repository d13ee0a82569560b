import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { FleetError, invalidArgument } from "../../platform/errors/fleet-error.ts";
import type { Metrics } from "../../platform/observability/metrics.ts";
import { requestIdFrom } from "../../platform/request-context.ts";
import { type GraphQLOverHttpOptions, serveGraphQL } from "./graphql-over-http.ts";
import type { Origins } from "./origins.ts";
import type { Readiness } from "./readiness.ts";
import { readJsonBody } from "./request-body.ts";
import { sendError, sendJson, setSecurityHeaders } from "./responses.ts";

/** Serves a file, and says whether it did. */
export type StaticFiles = (request: IncomingMessage, response: ServerResponse) => boolean | Promise<boolean>;

/** Trades a single-use sign-in code for a token. Throws UNAUTHENTICATED for one that is not good. */
export type ExchangeCode = (code: string) => Promise<{ readonly token: string; readonly expiresAt: number }>;

export interface HttpServerOptions extends GraphQLOverHttpOptions {
  readonly path: string;
  readonly origins: Origins;
  readonly readiness: Readiness;
  readonly registry: Metrics;
  readonly serveStatic: StaticFiles | undefined;
  readonly exchangeCode: ExchangeCode | undefined;
}

const SIGN_IN_BODY_BYTES = 4_096;
const PREFLIGHT_SECONDS = 600;

/** The gateway's HTTP side: GraphQL, sign-in, health, metrics, and the files of the page. */
export function createHttpServer(options: HttpServerOptions): Server {
  const server = createServer((request, response) => {
    const requestId = requestIdFrom(request.headers["x-request-id"]);
    setSecurityHeaders(response);
    response.setHeader("x-request-id", requestId);
    response.on("error", () => response.destroy());
    route(request, response, requestId, options).catch((error: unknown) => {
      options.log.error({ err: error, requestId }, "a request failed");
      sendError(response, error);
    });
  });
  // Longer than load balancers keep a connection idle: it is they who close it.
  server.keepAliveTimeout = 75_000;
  // From the first byte of a request to its last: what comes slower holds a connection for nothing.
  server.requestTimeout = 30_000;
  return server;
}

async function route(request: IncomingMessage, response: ServerResponse, requestId: string, options: HttpServerOptions): Promise<void> {
  const path = request.url?.split("?", 1)[0] ?? "/";
  if (path === options.path) {
    allowListedOrigin(request, response, options.origins);
    if (request.method === "OPTIONS") return preflight(response);
    if (!wantsPage(request)) return serveGraphQL(request, response, requestId, options);
  }
  if (path === "/auth/exchange" && options.exchangeCode) return signIn(request, response, options.origins, options.exchangeCode);
  if (request.method === "GET" || request.method === "HEAD") {
    if (path === "/healthz") return sendJson(response, 200, { status: "ok" });
    if (path === "/readyz") return sendReadiness(response, options.readiness);
    if (path === "/metrics") return sendMetrics(response, options.registry);
    if (await options.serveStatic?.(request, response)) return;
  }
  sendError(response, new FleetError("NOT_FOUND", "There is nothing at this address."));
}

/** A browser that is pointed at the GraphQL address gets the page, if there is one, and not an error about its missing token. */
function wantsPage({ method, url = "", headers: { accept = "" } }: IncomingMessage): boolean {
  return method === "GET" && !url.includes("?") && accept.includes("text/html");
}

async function signIn(request: IncomingMessage, response: ServerResponse, origins: Origins, exchangeCode: ExchangeCode): Promise<void> {
  try {
    if (request.method !== "POST") {
      response.setHeader("allow", "POST");
      return sendJson(response, 405, { errors: [{ message: "Send the code by POST.", extensions: { code: "INVALID_ARGUMENT" } }] });
    }
    if (!origins.allows(request)) throw new FleetError("FORBIDDEN", "This page may not sign in here.", { reason: "ForeignOrigin" });
    const body = await readJsonBody(request, SIGN_IN_BODY_BYTES);
    const code = typeof body === "object" && body !== null && "code" in body ? body.code : undefined;
    if (typeof code !== "string") throw invalidArgument("code", 'Send the code as JSON: {"code": "…"}.');
    const { token, expiresAt } = await exchangeCode(code);
    sendJson(response, 200, { token, expiresAt });
  } catch (error) {
    sendError(response, error);
  }
}

async function sendReadiness(response: ServerResponse, readiness: Readiness): Promise<void> {
  const report = await readiness.report();
  sendJson(response, report.ready ? 200 : 503, report);
}

async function sendMetrics(response: ServerResponse, registry: Metrics): Promise<void> {
  const text = await registry.text();
  response.setHeader("content-type", registry.contentType);
  response.end(text);
}

function allowListedOrigin(request: IncomingMessage, response: ServerResponse, origins: Origins): void {
  const { origin } = request.headers;
  response.setHeader("vary", "origin");
  if (origin === undefined || !origins.listed(origin)) return;
  response.setHeader("access-control-allow-origin", origin);
  response.setHeader("access-control-expose-headers", "x-request-id");
}

function preflight(response: ServerResponse): void {
  if (response.hasHeader("access-control-allow-origin")) {
    response.setHeader("access-control-allow-methods", "GET, POST");
    response.setHeader("access-control-allow-headers", "authorization, content-type, x-request-id, apollo-require-preflight");
    response.setHeader("access-control-max-age", String(PREFLIGHT_SECONDS));
  }
  response.statusCode = 204;
  response.end();
}
