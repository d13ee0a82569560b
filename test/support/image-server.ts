import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

const CHUNK_BYTES = 64 * 1024;

export interface ServedFile {
  content: Buffer;
  /** Ends the connection once so many bytes of a body were sent; the first `breaks` times only, by default always. */
  breakAfterBytes?: number;
  breaks?: number;
  /** Waits after every 64 KiB. */
  chunkDelayMs?: number;
  /** Answers with this status instead of the file. */
  status?: number;
  headers?: Record<string, string>;
  /** False: a server that always sends the whole file. */
  ranges?: boolean;
}

/** What was asked for. */
export interface ServedRequest {
  method: string;
  path: string;
  range: string | null;
  authorization: string | null;
  /** Bytes of the body that were sent; less than the file where the transfer was broken or given up. */
  sentBytes: number;
}

export interface ImageServerOptions {
  /** Serves HTTPS with them. */
  tls?: { keyPem: string; certificatePem: string };
  host?: string;
}

/** Serves files over HTTP, as well or as badly as a test wants it. */
export class ImageServer implements AsyncDisposable {
  readonly url: string;
  readonly requests: ServedRequest[] = [];
  readonly #server: Server;
  readonly #files = new Map<string, ServedFile>();
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server, url: string) {
    this.#server = server;
    this.url = url;
  }

  static async start({ tls, host = "127.0.0.1" }: ImageServerOptions = {}): Promise<ImageServer> {
    const server: Server = tls === undefined ? createServer() : createTlsServer({ key: tls.keyPem, cert: tls.certificatePem });
    server.listen(0, host);
    await once(server, "listening");
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("No port.");
    const images = new ImageServer(server, `${tls === undefined ? "http" : "https"}://${host}:${address.port}`);
    server.on(tls === undefined ? "connection" : "secureConnection", (socket: Socket) => {
      images.#sockets.add(socket);
      socket.once("close", () => images.#sockets.delete(socket));
    });
    server.on("request", (request: IncomingMessage, response: ServerResponse) => {
      // A client that leaves in the middle is no error here.
      images.#answer(request, response).catch(() => response.destroy());
    });
    return images;
  }

  /** Serves `content` under `path` ("/disk.qcow2"), instead of what was there; gives its URL. */
  serve(path: string, content: Buffer | string, how: Omit<ServedFile, "content"> = {}): string {
    this.#files.set(path, { ...how, content: Buffer.from(content) });
    return `${this.url}${path}`;
  }

  requestsFor(path: string): ServedRequest[] {
    return this.requests.filter((request) => request.path === path);
  }

  async stop(): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = "GET", headers } = request;
    const { pathname: path } = new URL(request.url ?? "/", this.url);
    const seen = { method, path, range: headers.range ?? null, authorization: headers.authorization ?? null, sentBytes: 0 };
    this.requests.push(seen);
    const file = this.#files.get(path);
    if (file === undefined || file.status !== undefined) {
      response.writeHead(file?.status ?? 404, file?.headers).end();
      return;
    }
    const size = file.content.length;
    const range = file.ranges === false ? null : parseRange(headers.range, size);
    if (range === "unsatisfiable") {
      response.writeHead(416, { "content-range": `bytes */${size}` }).end();
      return;
    }
    const [first, end] = range ?? [0, size];
    response.writeHead(range === null ? 200 : 206, {
      "content-type": "application/octet-stream",
      "content-length": end - first,
      ...(file.ranges === false ? {} : { "accept-ranges": "bytes" }),
      ...(range === null ? {} : { "content-range": `bytes ${first}-${end - 1}/${size}` }),
      ...file.headers,
    });
    if (method === "HEAD") response.end();
    else await send(response, file, first, end, seen);
  }
}

async function send(response: ServerResponse, file: ServedFile, first: number, end: number, seen: ServedRequest): Promise<void> {
  const breaking = file.breakAfterBytes !== undefined && file.breaks !== 0;
  const stop = breaking ? Math.min(end, first + (file.breakAfterBytes ?? 0)) : end;
  for (let at = first; at < stop && !response.destroyed; ) {
    const next = Math.min(at + CHUNK_BYTES, stop);
    await new Promise<void>((resolve, reject) => {
      response.once("close", resolve);
      response.write(file.content.subarray(at, next), (error) => {
        response.off("close", resolve);
        if (error) reject(error);
        else resolve();
      });
    });
    seen.sentBytes += next - at;
    at = next;
    if (file.chunkDelayMs !== undefined) await delay(file.chunkDelayMs);
  }
  if (stop === end) {
    response.end();
    return;
  }
  if (file.breaks !== undefined) file.breaks -= 1;
  response.destroy();
}

/** [first, end) of "bytes=a-b", "bytes=a-" and "bytes=-n"; null where all is wanted. */
function parseRange(header: string | undefined, size: number): [number, number] | "unsatisfiable" | null {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? "");
  if (match === null || (match[1] === "" && match[2] === "")) return null;
  const [, from = "", to = ""] = match;
  if (from === "") return [Math.max(0, size - Number(to)), size];
  const first = Number(from);
  const end = to === "" ? size : Math.min(size, Number(to) + 1);
  return first < end ? [first, end] : "unsatisfiable";
}
