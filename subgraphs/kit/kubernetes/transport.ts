import { finished } from "node:stream";
import { createSecureContext, type TLSSocket } from "node:tls";
import { DecoratorHandler, type Dispatcher, Pool } from "undici";
import { FleetError } from "../../../platform/errors/fleet-error.ts";
import { Semaphore } from "../semaphore.ts";
import { brokenFailure, lateFailure } from "./connect-failures.ts";
import { Dial, type DialTarget, type Lookup } from "./dial.ts";
import { type ClusterAccess, type ClusterCredentials, type ConnectionStep, KubernetesFailure } from "./types.ts";

export interface TransportOptions {
  /** Requests at the same time, without the long ones; 6 unless told. */
  connections?: number | undefined;
  /** Until a connection is ready for use; 10 s unless told. */
  connectTimeoutMs?: number | undefined;
  /** Instead of the system's resolver. */
  lookup?: Lookup | undefined;
}

export interface TransportRequest {
  method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** Below the server, with its query. */
  path: string;
  headers: Record<string, string>;
  body?: string | undefined;
  signal: AbortSignal;
  timeoutMs: number;
}

export type Answer = Dispatcher.ResponseData;

const CONNECTIONS = 6;
const MAX_WAITING = 1_000;
/** Watches and logs. */
const MAX_LASTING = 256;
const CONNECT_TIMEOUT_MS = 10_000;
/** Shorter than what servers and the balancers before them keep idle connections for. */
const IDLE_MS = 30_000;

/**
 * Requests to one cluster over kept connections (HTTP/1.1, one request at a time on each). Redirects are not followed. What fails is a
 * KubernetesFailure; what its caller's signal ends is CANCELLED, or the signal's own FleetError.
 */
export class Transport {
  readonly #short: Pool;
  /** Of its own, so that what lasts never takes a connection from what does not. */
  readonly #lasting: Pool;
  readonly #prefix: string;
  readonly #headers: Record<string, string>;
  readonly #permits: Semaphore;
  readonly #closing = new AbortController();
  readonly #dials = new Set<Dial>();
  #lastingCount = 0;

  constructor(access: ClusterAccess, options: TransportOptions = {}) {
    const server = new URL(access.server);
    this.#prefix = server.pathname.replace(/\/+$/, "");
    this.#headers = { "user-agent": "fleetgraph", ...authorization(access.credentials) };
    this.#permits = new Semaphore(options.connections ?? CONNECTIONS);
    const target = targetOf(access, server, options.lookup);
    const timeoutMs = options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS;
    const pool = (connections: number) =>
      new Pool(server.origin, {
        connections,
        allowH2: false,
        // The deadlines are those of the requests.
        headersTimeout: 0,
        bodyTimeout: 0,
        keepAliveTimeout: IDLE_MS,
        keepAliveMaxTimeout: IDLE_MS,
        connect: (_options, done) => {
          this.#dial(target, timeoutMs).then(
            (socket) => done(null, socket),
            (error) => done(error, null),
          );
        },
      });
    this.#short = pool(options.connections ?? CONNECTIONS);
    this.#lasting = pool(MAX_LASTING);
  }

  /** The whole of an exchange: `read` gets the answer, and has it read when it is done. */
  async exchange<T>(request: TransportRequest, read: (answer: Answer) => Promise<T>): Promise<T> {
    if (this.#permits.waiting >= MAX_WAITING) throw tooMany(`${MAX_WAITING} requests to the API server wait already`);
    return await this.#within(request, (over, progress) =>
      this.#permits.run(async () => await read(await this.#send(this.#short, request, over, progress)), over),
    );
  }

  /** An answer that is read as it comes. The deadline is for its beginning; from then on it ends with the signal, or `close`. */
  async open(request: TransportRequest): Promise<Answer> {
    if (this.#lastingCount >= MAX_LASTING) throw tooMany(`${MAX_LASTING} watches of the cluster and logs are open already`);
    this.#lastingCount += 1;
    // It outlives the deadline's signal.
    const life = new AbortController();
    const end = () => life.abort(endOf(request.signal));
    const ended = () => {
      this.#lastingCount -= 1;
      request.signal.removeEventListener("abort", end);
    };
    request.signal.addEventListener("abort", end, { once: true });
    try {
      const answer = await this.#within(request, (over, progress) => {
        over.addEventListener("abort", () => life.abort(over.reason), { once: true });
        return this.#send(this.#lasting, request, life.signal, progress);
      });
      finished(answer.body, ended);
      return answer;
    } catch (error) {
      ended();
      throw error;
    }
  }

  async close(): Promise<void> {
    const closed = new KubernetesFailure("UNAVAILABLE", "REQUEST", "Closed", "The connection to the cluster was closed.");
    this.#closing.abort(closed);
    await Promise.all([this.#short.destroy(closed), this.#lasting.destroy(closed)]);
  }

  /** Runs the work until the request's signal, its deadline or `close`; the work's signal then aborts with what is thrown. */
  async #within<T>(request: TransportRequest, work: (over: AbortSignal, progress: Progress) => Promise<T>): Promise<T> {
    const { signal, timeoutMs } = request;
    const progress: Progress = { sent: false };
    const over = new AbortController();
    const gaveUp = Promise.withResolvers<never>();
    gaveUp.promise.catch(() => undefined);
    const give = (reason: Error) => {
      gaveUp.reject(reason);
      over.abort(reason);
    };
    const onSignal = () => give(endOf(signal));
    const onClose = () => give(this.#closing.signal.reason);
    const timer = setTimeout(() => give(lateFailure(this.#stepOf(progress), timeoutMs)), timeoutMs);
    signal.addEventListener("abort", onSignal, { once: true });
    this.#closing.signal.addEventListener("abort", onClose, { once: true });
    try {
      if (signal.aborted) throw endOf(signal);
      this.#closing.signal.throwIfAborted();
      // What gave up does not wait for what it gave up on, such as a connection that is still being made.
      return await Promise.race([work(over.signal, progress), gaveUp.promise]);
    } catch (error) {
      over.signal.throwIfAborted();
      throw error instanceof FleetError ? error : brokenFailure(error);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", onSignal);
      this.#closing.signal.removeEventListener("abort", onClose);
    }
  }

  /** A GET is sent once more where a connection, such as one kept for too long, died before the answer began. */
  async #send(pool: Pool, request: TransportRequest, signal: AbortSignal, progress: Progress): Promise<Answer> {
    try {
      return await this.#sendOnce(pool, request, signal, progress);
    } catch (error) {
      if (request.method !== "GET" || signal.aborted || !progress.sent || brokenFailure(error).reason !== "ConnectionLost") throw error;
      progress.sent = false;
      return await this.#sendOnce(pool, request, signal, progress);
    }
  }

  async #sendOnce(pool: Pool, request: TransportRequest, signal: AbortSignal, progress: Progress): Promise<Answer> {
    const { method, path, headers, body } = request;
    const noting = pool.compose((dispatch) => (options, handler) => dispatch(options, new NotingHandler(handler, progress)));
    return await noting.request({
      method,
      path: this.#prefix + path,
      headers: { ...this.#headers, ...headers },
      body: body ?? null,
      signal,
    });
  }

  async #dial(target: DialTarget, timeoutMs: number): Promise<TLSSocket> {
    const over = new AbortController();
    const dial = new Dial(target, over.signal);
    const onClose = () => over.abort(this.#closing.signal.reason);
    const timer = setTimeout(() => over.abort(lateFailure(dial.step, timeoutMs)), timeoutMs);
    this.#closing.signal.addEventListener("abort", onClose, { once: true });
    this.#dials.add(dial);
    try {
      this.#closing.signal.throwIfAborted();
      return await dial.run();
    } finally {
      this.#dials.delete(dial);
      clearTimeout(timer);
      this.#closing.signal.removeEventListener("abort", onClose);
    }
  }

  /** What has not been sent waits for a connection: the one that has been in the making for longest tells why. */
  #stepOf(progress: Progress): ConnectionStep {
    const [oldest] = this.#dials;
    return progress.sent || !oldest ? "REQUEST" : oldest.step;
  }
}

interface Progress {
  /** It has a connection. */
  sent: boolean;
}

class NotingHandler extends DecoratorHandler {
  readonly #handler: Dispatcher.DispatchHandler;
  readonly #progress: Progress;

  constructor(handler: Dispatcher.DispatchHandler, progress: Progress) {
    super(handler);
    this.#handler = handler;
    this.#progress = progress;
  }

  onRequestStart(controller: Dispatcher.DispatchController, context: unknown): void {
    this.#progress.sent = true;
    this.#handler.onRequestStart?.(controller, context);
  }
}

function targetOf(access: ClusterAccess, server: URL, lookup: Lookup | undefined): DialTarget {
  const proxy = access.proxyUrl === null ? null : new URL(access.proxyUrl);
  const { credentials } = access;
  const own = credentials.kind === "CLIENT_CERTIFICATE" ? { cert: credentials.certificatePem, key: credentials.keyPem } : {};
  return {
    host: bareHost(server),
    port: Number(server.port || 443),
    proxy: proxy && { host: bareHost(proxy), port: Number(proxy.port || 80) },
    tlsServerName: access.tlsServerName,
    insecureSkipTlsVerify: access.insecureSkipTlsVerify,
    secureContext: createSecureContext({ ...(access.caPem === null ? {} : { ca: access.caPem }), ...own }),
    lookup,
  };
}

/** Without the brackets of an IPv6 address. */
function bareHost(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, "");
}

function authorization(credentials: ClusterCredentials): Record<string, string> {
  if (credentials.kind === "TOKEN") return { authorization: `Bearer ${credentials.token}` };
  if (credentials.kind !== "BASIC") return {};
  return { authorization: `Basic ${Buffer.from(`${credentials.username}:${credentials.password}`).toString("base64")}` };
}

/** Why the caller gave up: its own FleetError, a deadline, or that it went away. */
function endOf(signal: AbortSignal): FleetError {
  const { reason } = signal;
  if (reason instanceof FleetError || (reason instanceof Error && reason.name === "TimeoutError")) return FleetError.from(reason);
  return new FleetError("CANCELLED", "The request was cancelled.", { cause: reason });
}

function tooMany(what: string): KubernetesFailure {
  return new KubernetesFailure("RESOURCE_EXHAUSTED", "REQUEST", "TooManyRequests", `Too much at once: ${what}.`);
}
