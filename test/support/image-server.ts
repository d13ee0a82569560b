import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type Server, type ServerResponse } from "node:http";
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
  /** Gives it to nobody else (Basic). */
  credentials?: { username: string; password: string };
  /** Sends on to this URL. */
  redirect?: string;
}

/** What was asked for. */
export interface ServedRequest {
  method: string;
  path: string;
  range: string | null;
  ifRange: string | null;
  authorization: string | null;
  /** What it was answered with; 0 until then. */
  status: number;
  /** Bytes of the body that were sent; less than the file where the transfer was broken or given up. */
  sentBytes: number;
}

export interface ImageServerOptions {
  /** Serves HTTPS with them. */
  tls?: { keyPem: string; certificatePem: string };
  host?: string;
}

/**
 * Serves files over HTTP, as well or as badly as a test wants it. Where `headers` say a file's etag or last-modified, If-Range and
 * If-None-Match are answered by them.
 */
export class ImageServer implements AsyncDisposable {
  readonly url: string;
  readonly requests: ServedRequest[] = [];
  #server: Server;
  readonly #options: ImageServerOptions;
  readonly #files = new Map<string, ServedFile>();
  readonly #sockets = new Set<Socket>();

  private constructor(options: ImageServerOptions, server: Server, url: string) {
    this.#options = options;
    this.#server = server;
    this.url = url;
    this.#serveOn(server);
  }

  static async start(options: ImageServerOptions = {}): Promise<ImageServer> {
    const { tls, host = "127.0.0.1" } = options;
    const server = await listen(options, 0);
    return new ImageServer(options, server, `${tls === undefined ? "http" : "https"}://${host}:${portOf(server)}`);
  }

  /** Ends all connections, listens no more, and comes back at the same address when `whileAway` is over. */
  async restart(whileAway: () => Promise<void> = async () => undefined): Promise<void> {
    const port = portOf(this.#server);
    await this.stop();
    await whileAway();
    this.#server = await listen(this.#options, port);
    this.#serveOn(this.#server);
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

  #serveOn(server: Server): void {
    server.on(this.#options.tls === undefined ? "connection" : "secureConnection", (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once("close", () => this.#sockets.delete(socket));
    });
    server.on("request", (request: IncomingMessage, response: ServerResponse) => {
      // A client that leaves in the middle is no error here.
      this.#answer(request, response).catch(() => response.destroy());
    });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = "GET", headers } = request;
    const { pathname: path } = new URL(request.url ?? "/", this.url);
    const ifRange = typeof headers["if-range"] === "string" ? headers["if-range"] : null;
    const seen = {
      method,
      path,
      range: headers.range ?? null,
      ifRange,
      authorization: headers.authorization ?? null,
      status: 0,
      sentBytes: 0,
    };
    this.requests.push(seen);
    response.once("finish", () => {
      seen.status = response.statusCode;
    });
    const file = this.#files.get(path);
    const refusal = refusalOf(file, headers);
    if (file === undefined || refusal !== null) {
      response.writeHead(refusal?.status ?? 404, { ...file?.headers, ...refusal?.headers }).end();
      return;
    }
    const size = file.content.length;
    const isSame = ifRange === null || validatorsOf(file).includes(ifRange) || file.headers === undefined;
    const range = file.ranges === false || !isSame ? null : parseRange(headers.range, size);
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

async function listen({ tls, host = "127.0.0.1" }: ImageServerOptions, port: number): Promise<Server> {
  const server: Server = tls === undefined ? createServer() : createTlsServer({ key: tls.keyPem, cert: tls.certificatePem });
  server.listen(port, host);
  await once(server, "listening");
  return server;
}

function portOf(server: Server): number {
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("No port.");
  return address.port;
}

/** Null: the file is sent. */
function refusalOf(
  file: ServedFile | undefined,
  headers: IncomingHttpHeaders,
): { status: number; headers?: Record<string, string> } | null {
  if (file === undefined) return { status: 404 };
  if (file.credentials !== undefined) {
    const { username, password } = file.credentials;
    const wanted = `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
    if (headers.authorization !== wanted) return { status: 401, headers: { "www-authenticate": 'Basic realm="images"' } };
  }
  if (file.redirect !== undefined) return { status: 302, headers: { location: file.redirect } };
  if (file.status !== undefined) return { status: file.status };
  const known = headers["if-none-match"] ?? headers["if-modified-since"];
  return known !== undefined && validatorsOf(file).includes(known) ? { status: 304 } : null;
}

function validatorsOf({ headers = {} }: ServedFile): string[] {
  return [headers["etag"], headers["last-modified"]].filter((one) => one !== undefined);
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
