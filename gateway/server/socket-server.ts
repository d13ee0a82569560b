import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { handleProtocols } from "graphql-ws";
import { type WebSocket, WebSocketServer } from "ws";
import { FleetError } from "../../platform/errors/fleet-error.ts";
import { requestIdFrom } from "../../platform/request-context.ts";
import { StreamEnd } from "../subscriptions/stream-end.ts";
import { ClientConnection } from "./client-connection.ts";
import type { OperationServices } from "./client-operation.ts";
import type { Origins } from "./origins.ts";

/** The clients' WebSockets. */
export class SocketServer {
  readonly #services: OperationServices;
  readonly #origins: Origins;
  readonly #path: string;
  readonly #server: WebSocketServer;
  readonly #connections = new Map<WebSocket, ClientConnection>();
  readonly #alive = new WeakSet<WebSocket>();
  readonly #pings: NodeJS.Timeout;
  #draining = false;

  constructor(path: string, origins: Origins, services: OperationServices) {
    this.#path = path;
    this.#origins = origins;
    this.#services = services;
    this.#server = new WebSocketServer({
      noServer: true,
      handleProtocols,
      maxPayload: services.limits.requestBytes,
      perMessageDeflate: false,
    });
    this.#pings = setInterval(() => this.#pingAll(), services.limits.pingMs);
    this.#pings.unref();
  }

  upgrade(request: IncomingMessage, stream: Duplex, head: Buffer): void {
    stream.on("error", () => stream.destroy());
    const refusal = this.#refusalOf(request);
    if (refusal !== null) {
      stream.end(`HTTP/1.1 ${refusal}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`);
      return;
    }
    this.#server.handleUpgrade(request, stream, head, (socket) => this.#accept(socket, stream, request));
  }

  /** Tells every client DRAINING, closes with 1001 what has taken that in, and cuts the rest when the time is up. */
  async drain(timeoutMs: number): Promise<void> {
    this.#draining = true;
    const reason = StreamEnd.from(new FleetError("DRAINING", "The gateway is stopping: connect again."));
    const sockets = [...this.#connections.keys()];
    const closed = Promise.all(sockets.map((socket) => new Promise<void>((resolve) => socket.once("close", () => resolve()))));
    for (const connection of [...this.#connections.values()]) connection.end(reason);
    const timer = setTimeout(() => {
      for (const socket of sockets) socket.terminate();
    }, timeoutMs);
    await closed;
    clearTimeout(timer);
    clearInterval(this.#pings);
    this.#server.close();
  }

  /** Tells every client to subscribe again; the sockets stay. */
  endAll(reason: StreamEnd): void {
    this.#services.hub.endAll(reason);
  }

  #refusalOf(request: IncomingMessage): string | null {
    if (request.url?.split("?", 1)[0] !== this.#path) return "404 Not Found";
    if (!this.#origins.allows(request)) return "403 Forbidden";
    if (this.#draining || this.#connections.size >= this.#services.limits.sockets) return "503 Service Unavailable";
    return null;
  }

  #accept(socket: WebSocket, stream: Duplex, request: IncomingMessage): void {
    if (socket.protocol === "") {
      socket.on("error", () => socket.terminate());
      socket.close(SUBPROTOCOL_NOT_ACCEPTABLE, "Subprotocol not acceptable");
      return;
    }
    const { authorization, "x-request-id": requestId } = request.headers;
    this.#connections.set(
      socket,
      new ClientConnection(socket, stream, { authorization, requestId: requestIdFrom(requestId) }, this.#services),
    );
    this.#services.metrics.sockets.set(this.#connections.size);
    this.#alive.add(socket);
    socket.on("pong", () => this.#alive.add(socket));
    socket.on("close", () => {
      this.#connections.delete(socket);
      this.#services.metrics.sockets.set(this.#connections.size);
    });
  }

  #pingAll(): void {
    for (const socket of this.#connections.keys()) {
      if (!this.#alive.delete(socket)) socket.terminate();
      else if (socket.readyState === socket.OPEN) socket.ping();
    }
  }
}

/** graphql-transport-ws is the only protocol here. */
const SUBPROTOCOL_NOT_ACCEPTABLE = 4406;
