import { Agent, type IncomingMessage } from "node:http";
import { Duplex, type Readable } from "node:stream";
import Docker from "dockerode";
import { FleetError } from "../../../platform/errors/fleet-error.ts";
import { waitAtMost } from "../../libvirt/wait.ts";
import { EngineRefusal } from "./engine-errors.ts";

export interface CallOptions {
  signal: AbortSignal;
  query?: Readonly<Record<string, unknown>>;
  body?: object;
  /** Sent instead of a body. */
  archive?: Buffer;
  authentication?: RegistryAccount;
  /** Until the answer is complete; 30 s. */
  timeoutMs?: number;
}

/** Sent in a header of its own, for a pull. */
export interface RegistryAccount {
  username: string;
  password: string;
  serveraddress: string;
}

export interface EngineIdentity {
  /** "Libpod/4.3.1 (linux)", "Docker/20.10.24 (linux)". */
  server: string;
  isPodman: boolean;
}

type Method = "GET" | "POST" | "DELETE";

/** What docker-modem, dockerode's transport, takes. */
interface DialOptions {
  path: string;
  method: Method;
  options: { _query: object; _body: object };
  file?: Buffer;
  authconfig?: RegistryAccount;
  abortSignal: AbortSignal;
  isStream: boolean;
  /** Asks to leave HTTP behind: the answer is the connection itself. */
  hijack?: boolean;
  statusCodes: Record<number, true>;
}

interface Modem {
  dial(options: DialOptions, callback: (error: ModemError | null, answer: unknown) => void): void;
}

interface ModemError extends Error {
  /** Of an answer; none where there was no answer. */
  statusCode?: number;
  code?: string;
}

const DEFAULT_TIMEOUT_MS = 30_000;
/** Thousands of containers' description. */
const MAX_ANSWER_BYTES = 64 * 1024 ** 2;
const NOTHING = Buffer.alloc(0);
const GOOD: Record<number, true> = { 200: true, 201: true, 204: true, 304: true };
/** podman's own calls have a version in their path. It serves every version since 4.0 by this one. */
const PODMAN_API = "/v4.0.0/libpod";

/**
 * The Docker Engine API behind a UNIX socket, and podman's own. Every call ends: with its answer, EngineRefusal, UNAVAILABLE where the
 * engine is away or does not answer in time, or CANCELLED. Whether a call that ended in UNAVAILABLE took effect is not known.
 */
export class ContainerEngine {
  readonly socketPath: string;
  readonly #modem: Modem;
  /** Each call has a connection of its own: one that is kept dies with the engine, and takes the next call with it. */
  readonly #agent = new Agent({ keepAlive: false });

  constructor(socketPath: string) {
    this.socketPath = socketPath;
    // dockerode fills what is left out from DOCKER_HOST and its kin: another engine than the one that was configured.
    const named = { host: undefined, port: undefined, key: undefined, cert: undefined, ca: undefined, timeout: undefined };
    const options = { ...named, protocol: "http", socketPath, agent: this.#agent } as const;
    this.#modem = new Docker(options).modem as Modem;
  }

  get<T>(path: string, options: CallOptions): Promise<T> {
    return this.#call("GET", path, options) as Promise<T>;
  }

  post<T>(path: string, options: CallOptions): Promise<T> {
    return this.#call("POST", path, options) as Promise<T>;
  }

  delete<T>(path: string, options: CallOptions): Promise<T> {
    return this.#call("DELETE", path, options) as Promise<T>;
  }

  /** podman's own API, which Docker has not got. */
  podman<T>(method: Method, path: string, options: CallOptions): Promise<T> {
    return this.#call(method, `${PODMAN_API}${path}`, options) as Promise<T>;
  }

  /** An answer without an end. Resolves when it begins; lives until it is read, destroyed, or the signal aborts. */
  async open(method: Method, path: string, options: Omit<CallOptions, "timeoutMs">): Promise<IncomingMessage> {
    const stream = await this.#dial(method, path, options, options.signal);
    const end = () => stream.destroy(FleetError.from(options.signal.reason));
    stream.once("close", () => options.signal.removeEventListener("abort", end));
    if (options.signal.aborted) end();
    else options.signal.addEventListener("abort", end, { once: true });
    return stream;
  }

  /** A connection that carries what a container reads and writes. Lives until it is destroyed. */
  async attach(path: string, { signal, query, timeoutMs = DEFAULT_TIMEOUT_MS }: Omit<CallOptions, "body" | "archive">): Promise<Duplex> {
    const over = new AbortController();
    // An empty body: one without a length would end with a mark that the container gets to read.
    const dialled = this.#dial("POST", path, { query, archive: NOTHING }, over.signal, true);
    try {
      const answer: Readable = await waitAtMost(dialled, timeoutMs, signal, () => silent(timeoutMs));
      if (answer instanceof Duplex) return answer;
      answer.destroy();
      throw new EngineRefusal(501, "it does not let go of HTTP");
    } catch (error) {
      over.abort();
      void dialled.then((late) => late.destroy()).catch(() => undefined);
      throw error;
    }
  }

  /** Who answers, at no cost: podman, asked for its version, asks the package manager of its host first. */
  async hello(options: CallOptions): Promise<EngineIdentity> {
    return await this.#within("GET", "/_ping", options, async ({ headers }) => ({
      server: String(headers.server ?? ""),
      isPodman: headers["libpod-api-version"] !== undefined,
    }));
  }

  close(): void {
    this.#agent.destroy();
  }

  async #call(method: Method, path: string, options: CallOptions): Promise<unknown> {
    return await this.#within(method, path, options, readJson);
  }

  async #within<T>(method: Method, path: string, options: CallOptions, read: (answer: IncomingMessage) => Promise<T>): Promise<T> {
    const { signal, timeoutMs = DEFAULT_TIMEOUT_MS } = options;
    const over = new AbortController();
    const answer = this.#dial(method, path, options, over.signal).then(read);
    answer.catch(() => undefined);
    try {
      return await waitAtMost(answer, timeoutMs, signal, () => silent(timeoutMs));
    } finally {
      over.abort();
    }
  }

  /** Always as a stream: dockerode never tells of an answer that breaks off while it reads it by itself. */
  #dial(
    method: Method,
    path: string,
    { query, body, archive, authentication }: Omit<CallOptions, "signal">,
    abortSignal: AbortSignal,
    hijack = false,
  ): Promise<IncomingMessage> {
    // dockerode sends a query that is not told apart from the body as both: environments would stand in addresses, and in logs.
    const options = { _query: { ...query }, _body: { ...body } };
    const request = {
      path: `${path}?`,
      method,
      options,
      abortSignal,
      isStream: true,
      hijack,
      statusCodes: { ...GOOD },
      authconfig: authentication,
    };
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    this.#modem.dial(archive === undefined ? request : { ...request, file: archive }, (error, answer) => {
      if (error) return reject(asEngineError(error));
      const stream = answer as IncomingMessage;
      // What breaks off when nobody reads any more is no error.
      stream.on("error", () => undefined);
      resolve(stream);
    });
    return promise;
  }
}

/** Undefined for an answer without words. */
async function readJson(answer: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of answer) {
      chunks.push(chunk as Buffer);
      bytes += (chunk as Buffer).length;
      if (bytes > MAX_ANSWER_BYTES) throw new Error(`an answer of more than ${MAX_ANSWER_BYTES} bytes`);
    }
    const text = Buffer.concat(chunks).toString("utf8");
    return /^\s*[[{"]/.test(text) ? JSON.parse(text) : undefined;
  } catch (cause) {
    const why = cause instanceof SyntaxError ? "it sent what is no JSON" : (cause as Error).message;
    throw new FleetError("UNAVAILABLE", `The container engine's answer cannot be read: ${why}.`, { reason: "EngineUnreachable", cause });
  }
}

function asEngineError(error: ModemError): Error {
  if (error.statusCode !== undefined) {
    // dockerode puts the engine's words behind its own.
    return new EngineRefusal(error.statusCode, error.message.replace(/^\(HTTP code \d+\) unexpected - /, ""));
  }
  if (error.name === "AbortError") return new FleetError("CANCELLED", "The call to the container engine was cancelled.", { cause: error });
  return new FleetError("UNAVAILABLE", `The container engine does not answer (${error.code ?? error.message}).`, {
    reason: "EngineUnreachable",
    cause: error,
  });
}

function silent(timeoutMs: number): FleetError {
  return new FleetError("UNAVAILABLE", `The container engine did not answer within ${Math.round(timeoutMs / 1000)} s.`, {
    reason: "EngineSilent",
  });
}
