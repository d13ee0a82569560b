import type { ExecutionResult } from "graphql";
import { errors, Pool } from "undici";
import { FleetError } from "../../platform/errors/fleet-error.ts";
import type { Logger } from "../../platform/observability/log.ts";
import type { SubgraphRequest } from "../../platform/subgraph-handler.ts";
import type { GatewayLimits } from "../limits.ts";
import { Admission } from "./admission.ts";
import { Deadline } from "./deadline.ts";
import { cancelled, faultResult, lateAnswer, unavailable } from "./faults.ts";
import type { SubgraphTransport } from "./subgraph-transport.ts";
import { UpstreamSocket } from "./upstream-socket.ts";

const CONNECT_TIMEOUT_MS = 3_000;
const KEEP_ALIVE_MS = 30_000;
/** Longer than any deadline: the deadlines decide, these only catch what slips through. */
const BACKSTOP_MS = 120_000;

/** A subgraph over HTTP, with a pool of connections; its subscriptions over graphql-ws at the same URL, a socket each. */
export class HttpTransport implements SubgraphTransport {
  readonly name: string;
  readonly #url: URL;
  readonly #pool: Pool;
  readonly #admission: Admission;
  readonly #sockets = new Set<UpstreamSocket>();
  readonly #limits: GatewayLimits;
  readonly #log: Logger;

  constructor(name: string, url: string, limits: GatewayLimits, log: Logger) {
    this.name = name;
    this.#url = new URL(url);
    this.#limits = limits;
    this.#log = log;
    this.#admission = new Admission(`the subgraph ${JSON.stringify(name)}`, limits.subgraphInFlight, limits.subgraphWaiting);
    this.#pool = new Pool(this.#url.origin, {
      connections: limits.subgraphConnections,
      pipelining: 1,
      connectTimeout: CONNECT_TIMEOUT_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
      headersTimeout: BACKSTOP_MS,
      bodyTimeout: BACKSTOP_MS,
      maxResponseSize: limits.answerBytes,
    });
  }

  async execute(request: SubgraphRequest): Promise<ExecutionResult> {
    using deadline = new Deadline(request.deadlineMs ?? this.#limits.operationMs, request.signal);
    try {
      return await this.#admission.run(deadline.signal, () => this.#send(request, deadline));
    } catch (error) {
      if (deadline.expired) return faultResult(lateAnswer(this.name));
      if (deadline.signal.aborted) return faultResult(cancelled());
      const fault = error instanceof FleetError ? error : unavailable(this.name, "cannot be reached", error);
      this.#log.warn({ subgraph: this.name, requestId: request.headers["x-request-id"], err: error }, "fetch failed");
      return faultResult(fault);
    }
  }

  subscribe(request: SubgraphRequest): AsyncIterableIterator<ExecutionResult> {
    if (this.#sockets.size >= this.#limits.upstreams) {
      throw new FleetError("RESOURCE_EXHAUSTED", "Too many subscriptions are open.", { reason: "TooManyUpstreams" });
    }
    const socket = new UpstreamSocket(this.name, this.#url, request, this.#limits, () => this.#sockets.delete(socket));
    this.#sockets.add(socket);
    return socket;
  }

  async unreachable(deadlineMs: number): Promise<string | null> {
    const answer = await this.execute({ query: "{ __typename }", headers: {}, deadlineMs });
    const fault = answer.errors?.find((error) => error.extensions.subgraph === this.name);
    return fault ? fault.message : null;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) void socket.return();
    await this.#pool.destroy();
  }

  /** A query is sent once more where a connection that was kept alive turns out to be closed: nothing was answered yet, and reading is harmless. */
  async #send(request: SubgraphRequest, deadline: Deadline): Promise<ExecutionResult> {
    try {
      return await this.#post(request, deadline);
    } catch (error) {
      if (deadline.signal.aborted || !isClosedConnection(error) || !/^\s*(query\b|\{)/.test(request.query)) throw error;
      return await this.#post(request, deadline);
    }
  }

  async #post(request: SubgraphRequest, deadline: Deadline): Promise<ExecutionResult> {
    const { statusCode, body } = await this.#pool.request({
      method: "POST",
      path: this.#url.pathname + this.#url.search,
      headers: {
        ...request.headers,
        "content-type": "application/json",
        accept: "application/graphql-response+json, application/json",
        "x-deadline-ms": String(Math.max(1, Math.floor(deadline.leftMs))),
      },
      body: JSON.stringify({ query: request.query, operationName: request.operationName, variables: request.variables }),
      signal: deadline.signal,
    });
    const text = await body.text();
    return readAnswer(this.name, statusCode, text);
  }
}

function isClosedConnection(error: unknown): boolean {
  return error instanceof errors.SocketError || (error instanceof Error && "code" in error && error.code === "ECONNRESET");
}

function readAnswer(subgraph: string, status: number, text: string): ExecutionResult {
  let answer: unknown;
  try {
    answer = JSON.parse(text);
  } catch (error) {
    throw unavailable(subgraph, `gave an answer that is not JSON (HTTP status ${status})`, error);
  }
  if (!isExecutionResult(answer)) throw unavailable(subgraph, `gave an answer that is not GraphQL (HTTP status ${status})`);
  return answer;
}

/** True for an object with `data`, or with a non-empty list of errors that have messages. */
export function isExecutionResult(value: unknown): value is ExecutionResult {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const { data, errors: faults } = value as { data?: unknown; errors?: unknown };
  if (faults !== undefined && faults !== null) {
    if (!Array.isArray(faults) || !faults.every((fault) => typeof fault?.message === "string")) return false;
    if (data === undefined) return faults.length > 0;
  }
  return data !== undefined && typeof data === "object" && !Array.isArray(data);
}
