import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { type ExecutionResult, parse } from "graphql";
import { handleProtocols, makeServer, type SubscribePayload } from "graphql-ws";
import { type WebSocket, WebSocketServer } from "ws";
import { ERROR_TABLE } from "../../../platform/errors/codes.ts";
import { FleetError } from "../../../platform/errors/fleet-error.ts";
import type { Logger } from "../../../platform/observability/log.ts";
import type { SubgraphHandler, SubgraphRequest } from "../../../platform/subgraph-handler.ts";
import { onEndOf } from "./async-iterators.ts";
import { fleetErrorToWire, wireResult } from "./errors.ts";
import { SocketWriter } from "./socket-writer.ts";

export interface SocketLimits {
  /** Sockets open at once; beyond it 503. */
  sockets: number;
  /** Operations open on one socket; beyond it RESOURCE_EXHAUSTED. */
  operations: number;
  messageBytes: number;
  connectionInitMs: number;
  /** A ping this often; a socket that has not answered by the next one is closed. */
  pingMs: number;
  /** Above this much unsent, no further result is pulled. */
  bufferedBytes: number;
  /** A reader that stays behind for this long is ended with SLOW_CONSUMER. */
  slowConsumerMs: number;
}

export const SOCKET_LIMITS: SocketLimits = {
  sockets: 20_000,
  operations: 10_000,
  messageBytes: 1024 * 1024,
  connectionInitMs: 5000,
  pingMs: 15_000,
  bufferedBytes: 1024 * 1024,
  slowConsumerMs: 10_000,
};

/** What a connection brings along for its operations. */
interface Connection {
  operations: number;
}

/** An operation that is about to run. */
interface Opening {
  request: SubgraphRequest;
  connection: Connection;
}

/**
 * graphql-ws asks a document only for its kind of operation. The handler answers every kind as a stream, so that all of them take
 * the way of a subscription; the document that counts is the one in the payload.
 */
const ANY_OPERATION = parse("subscription { any }");

/** The WebSocket side of a subgraph (graphql-transport-ws). The token and the request id come in connection_init. */
export class GraphQLSockets {
  readonly #handler: SubgraphHandler;
  readonly #log: Logger;
  readonly #limits: SocketLimits;
  readonly #server: WebSocketServer;
  readonly #pings: NodeJS.Timeout;
  readonly #alive = new WeakSet<WebSocket>();
  readonly #protocol;

  constructor(handler: SubgraphHandler, log: Logger, limits: Partial<SocketLimits> = {}) {
    this.#handler = handler;
    this.#log = log;
    this.#limits = { ...SOCKET_LIMITS, ...limits };
    this.#server = new WebSocketServer({
      noServer: true,
      handleProtocols,
      maxPayload: this.#limits.messageBytes,
      perMessageDeflate: false,
    });
    this.#pings = setInterval(() => this.#pingAll(), this.#limits.pingMs);
    this.#pings.unref();
    this.#protocol = makeServer<Record<string, unknown>, Connection>({
      connectionInitWaitTimeout: this.#limits.connectionInitMs,
      onSubscribe: (context, _id, payload) => ({
        schema: undefined as never,
        document: ANY_OPERATION,
        contextValue: { request: requestOf(payload, context.connectionParams ?? {}), connection: context.extra },
      }),
      subscribe: ({ contextValue }) => this.#open(contextValue as Opening),
      onNext: (_context, _id, _payload, _args, result) => result as never,
    });
  }

  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on("error", () => socket.destroy());
    const refusal = this.#refusalOf(request);
    if (refusal !== null) {
      socket.end(`HTTP/1.1 ${refusal}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`);
      return;
    }
    this.#server.handleUpgrade(request, socket, head, (webSocket) => this.#accept(webSocket));
  }

  /** Closes every socket with 1001 once what was written has left, at the latest after `graceMs`. */
  async close(graceMs: number): Promise<void> {
    clearInterval(this.#pings);
    const open = [...this.#server.clients];
    const closed = Promise.all(open.map((webSocket) => new Promise((resolve) => webSocket.once("close", resolve))));
    for (const webSocket of open) webSocket.close(ERROR_TABLE.DRAINING.wsClose, "DRAINING");
    const timer = setTimeout(() => {
      for (const webSocket of open) webSocket.terminate();
    }, graceMs);
    await closed;
    clearTimeout(timer);
    this.#server.close();
  }

  /** Subgraphs are called by gateways: a browser, which always names its origin, has no business here. */
  #refusalOf(request: IncomingMessage): string | null {
    if (request.url?.split("?", 1)[0] !== "/graphql") return "404 Not Found";
    if (request.headers.origin !== undefined) return "403 Forbidden";
    return this.#server.clients.size >= this.#limits.sockets ? "503 Service Unavailable" : null;
  }

  #accept(webSocket: WebSocket): void {
    const writer = new SocketWriter(webSocket, this.#limits);
    this.#alive.add(webSocket);
    webSocket.on("pong", () => this.#alive.add(webSocket));
    webSocket.on("error", (error) => this.#log.debug({ err: error }, "WebSocket failed"));
    const closed = this.#protocol.opened(
      {
        protocol: webSocket.protocol,
        send: (data) => writer.send(data),
        close: (code, reason) => webSocket.close(code, reason),
        onMessage: (callback) => {
          webSocket.on("message", (data) => {
            // Rejects where the protocol is broken in a way that graphql-ws leaves to its transport.
            callback(String(data)).catch((error: unknown) => {
              this.#log.warn({ err: error }, "WebSocket message failed");
              webSocket.close(ERROR_CLOSE, "Internal error");
            });
          });
        },
      },
      { operations: 0 },
    );
    webSocket.once("close", (code, reason) => {
      writer.close();
      void closed(code, String(reason));
    });
  }

  #open({ request, connection }: Opening): AsyncIterable<ExecutionResult> | ExecutionResult {
    if (connection.operations >= this.#limits.operations) {
      const error = new FleetError("RESOURCE_EXHAUSTED", "Too many operations on one connection.", {
        reason: "Overloaded",
        details: { limit: this.#limits.operations },
      });
      return wireResult([fleetErrorToWire(error)]);
    }
    connection.operations += 1;
    return onEndOf(this.#handler.subscribe(request), () => {
      connection.operations -= 1;
    });
  }

  #pingAll(): void {
    for (const webSocket of this.#server.clients) {
      if (!this.#alive.delete(webSocket)) webSocket.terminate();
      else webSocket.ping();
    }
  }
}

/** graphql-ws' own code for a fault of the server. */
const ERROR_CLOSE = 4500;

function requestOf(payload: SubscribePayload, params: Record<string, unknown>): SubgraphRequest {
  const headers: Record<string, string> = {};
  for (const name of ["authorization", "x-request-id"]) {
    const value = payload.extensions?.[name] ?? params[name];
    if (typeof value === "string") headers[name] = value;
  }
  return { query: payload.query, operationName: payload.operationName ?? undefined, variables: payload.variables ?? undefined, headers };
}
