import { once } from "node:events";
import { createServer as createHttpServer, type RequestListener, type Server } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import { createServer, type Server as NetServer, type Socket } from "node:net";
import { TestAuthority } from "./test-authority.ts";

/** How far one gets before nothing more comes: a connection, its TLS handshake, an answer's headers. */
export type HangsAfter = "connection" | "handshake" | "headers";

/** A server that takes every connection and at some point says nothing any more. */
export class HangingServer implements AsyncDisposable {
  readonly url: string;
  /** Of its certificate; it is for 127.0.0.1. */
  readonly caPem: string;
  readonly #server: NetServer;
  readonly #sockets = new Set<Socket>();
  #taken = 0;

  private constructor(server: NetServer, url: string, caPem: string) {
    this.#server = server;
    this.url = url;
    this.caPem = caPem;
    server.on("connection", (socket: Socket) => {
      this.#taken += 1;
      this.#sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => this.#sockets.delete(socket));
    });
  }

  static async start(after: HangsAfter = "connection"): Promise<HangingServer> {
    const authority = await TestAuthority.create("hanging");
    const server =
      after === "connection"
        ? createServer((socket) => socket.resume())
        : await httpsServer(authority, after === "headers" ? onlyHeaders : () => {});
    // Else it would end by itself, after five minutes.
    if ("requestTimeout" in server) Object.assign(server, { requestTimeout: 0, headersTimeout: 0, timeout: 0 });
    return new HangingServer(server, `https://127.0.0.1:${await listen(server)}`, authority.caPem);
  }

  /** Connections it took so far. */
  get taken(): number {
    return this.#taken;
  }

  /** Those that are open. */
  get open(): number {
    return this.#sockets.size;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

export interface OtherServerOptions {
  /** A small page for all paths unless told. */
  answer?: RequestListener;
  /** False: plain HTTP, which is no answer to who speaks TLS. */
  tls?: boolean;
}

/** A server of HTTPS (or HTTP) that is not Kubernetes. */
export class NotKubernetes implements AsyncDisposable {
  /** "https://127.0.0.1:port", also where it speaks plain HTTP. */
  readonly url: string;
  readonly caPem: string;
  readonly #server: Server;

  private constructor(server: Server, url: string, caPem: string) {
    this.#server = server;
    this.url = url;
    this.caPem = caPem;
  }

  static async start({ answer = page, tls = true }: OtherServerOptions = {}): Promise<NotKubernetes> {
    const authority = await TestAuthority.create("other");
    const server = tls ? await httpsServer(authority, answer) : createHttpServer(answer);
    return new NotKubernetes(server, `https://127.0.0.1:${await listen(server)}`, authority.caPem);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** An HTTPS server on 127.0.0.1, signed by the authority; it does not listen yet. */
export async function httpsServer(
  authority: TestAuthority,
  listener: RequestListener,
  names = ["127.0.0.1", "localhost"],
): Promise<Server> {
  const { certificatePem, keyPem } = await authority.sign({ commonName: "server", names });
  return createHttpsServer({ cert: certificatePem, key: keyPem }, listener);
}

/** Gives the port. */
export async function listen(server: NetServer, address = "127.0.0.1"): Promise<number> {
  server.listen(0, address);
  await once(server, "listening");
  const bound = server.address();
  if (bound === null || typeof bound === "string") throw new Error("No port.");
  return bound.port;
}

const page: RequestListener = (_request, response) => {
  response.setHeader("content-type", "text/html").end("<!doctype html><title>Welcome</title><p>It works!");
};

const onlyHeaders: RequestListener = (_request, response) => {
  response.writeHead(200, { "content-type": "application/json" });
  response.write('{"major":');
};
