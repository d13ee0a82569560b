import { type ExecutionResult, type GraphQLSchema, OperationTypeNode } from "graphql";
import type { Identity } from "../../../platform/auth/identity.ts";
import { bearerToken, type TokenVerifier } from "../../../platform/auth/jwt.ts";
import { FleetError } from "../../../platform/errors/fleet-error.ts";
import type { Logger } from "../../../platform/observability/log.ts";
import type { Metrics } from "../../../platform/observability/metrics.ts";
import { type RequestContext, requestIdFrom } from "../../../platform/request-context.ts";
import type { SubgraphHandler, SubgraphRequest } from "../../../platform/subgraph-handler.ts";
import { LONGEST_TIMER_MS, RequestScope } from "../request-scope.ts";
import { Semaphore } from "../semaphore.ts";
import type { SubgraphContext } from "./context.ts";
import { Documents } from "./documents.ts";
import { chooseOperation, executeOperation, type Operation, openSource, RefusedDocument, refusedWith } from "./execution.ts";
import { HandlerMetrics } from "./handler-metrics.ts";
import { OperationStream } from "./operation-stream.ts";

export interface HandlerLimits {
  /** Queries and mutations at work at once; beyond it RESOURCE_EXHAUSTED. */
  inFlight: number;
  /** Events that are resolved at once; the others wait, one of each subscription at most. */
  events: number;
  /** Subscriptions open at once; beyond it RESOURCE_EXHAUSTED. */
  subscriptions: number;
  /** For a query or mutation whose caller named no deadline. */
  defaultDeadlineMs: number;
  /** A caller's deadline is cut to this. */
  longestDeadlineMs: number;
  /** For resolving one event of a subscription; beyond it the subscription ends with DEADLINE_EXCEEDED and can be resumed. */
  eventDeadlineMs: number;
}

export const HANDLER_LIMITS: HandlerLimits = {
  inFlight: 1000,
  events: 200,
  subscriptions: 20_000,
  defaultDeadlineMs: 30_000,
  longestDeadlineMs: 120_000,
  eventDeadlineMs: 10_000,
};

export interface SubgraphHandlerOptions<C extends SubgraphContext> {
  name: string;
  schema: GraphQLSchema;
  verifier: TokenVerifier;
  log: Logger;
  metrics: Metrics;
  /** Called anew for each query, mutation and event, and for the start of a subscription. */
  createContext(request: RequestContext): C;
  limits?: Partial<HandlerLimits>;
}

/** A handler with its end. */
export interface StoppableHandler extends SubgraphHandler {
  /** False once `drain` was called. */
  readonly accepting: boolean;
  /** Refuses what is new, ends each subscription with DRAINING, and waits for what is in flight, at most `graceMs`. */
  drain(graceMs: number): Promise<void>;
}

/** The one way into a subgraph, whatever carries the request: see SubgraphHandler. */
export function createSubgraphHandler<C extends SubgraphContext>(options: SubgraphHandlerOptions<C>): StoppableHandler {
  return new Handler(options);
}

/** Who asks, and under which id it is logged. */
interface Caller {
  requestId: string;
  log: Logger;
}

interface Prepared {
  operation: Operation;
  identity: Identity | null;
  token: string | null;
}

class Handler<C extends SubgraphContext> implements StoppableHandler {
  readonly name: string;
  readonly #options: SubgraphHandlerOptions<C>;
  readonly #limits: HandlerLimits;
  readonly #documents: Documents;
  readonly #metrics: HandlerMetrics;
  readonly #events: Semaphore;
  readonly #streams = new Set<OperationStream>();
  #inFlight = 0;
  #draining = false;
  #onIdle: () => void = () => undefined;

  constructor(options: SubgraphHandlerOptions<C>) {
    this.name = options.name;
    this.#options = options;
    this.#limits = { ...HANDLER_LIMITS, ...options.limits };
    this.#events = new Semaphore(this.#limits.events);
    this.#documents = new Documents(options.schema);
    this.#metrics = new HandlerMetrics(options.name, options.metrics);
  }

  get accepting(): boolean {
    return !this.#draining;
  }

  async execute(request: SubgraphRequest): Promise<ExecutionResult> {
    const caller = this.#caller(request);
    const startedAt = performance.now();
    const deadlineMs = Math.min(request.deadlineMs ?? this.#limits.defaultDeadlineMs, this.#limits.longestDeadlineMs);
    const scope = new RequestScope({ signal: request.signal, deadlineMs });
    let result: ExecutionResult;
    try {
      const prepared = await scope.race(this.#prepare(request));
      if (prepared.operation.type === OperationTypeNode.SUBSCRIPTION) {
        throw RefusedDocument.because("Subscriptions need a WebSocket (graphql-transport-ws).", "BAD_REQUEST");
      }
      result = await scope.race(this.#run(prepared, scope, caller));
    } catch (error) {
      result = refusedWith(error, caller.log);
    } finally {
      scope.close();
    }
    this.#metrics.answered(result, performance.now() - startedAt);
    return result;
  }

  /** A query or mutation is answered too, as a stream of one result: a WebSocket carries all kinds. */
  subscribe(request: SubgraphRequest): AsyncIterableIterator<ExecutionResult> {
    const caller = this.#caller(request);
    const scope = new RequestScope({});
    const leave = () => void stream.return();
    let prepared: Prepared | undefined;
    const stream = new OperationStream({
      start: async () => {
        try {
          prepared = await this.#prepare(request);
          if (prepared.operation.type !== OperationTypeNode.SUBSCRIPTION) return { refusal: await this.execute(request) };
          if (this.#streams.size > this.#limits.subscriptions) throw tooMany("subscriptions", this.#limits.subscriptions);
          if (prepared.identity?.kind === "user") endWithToken(stream, prepared.identity.expiresAt, scope.signal);
          const context = this.#options.createContext(requestContext(prepared, scope, caller));
          return await openSource(this.#options.schema, prepared.operation, context);
        } catch (error) {
          return { refusal: refusedWith(error, caller.log) };
        }
      },
      resolve: (event) => this.#resolveEvent(prepared as Prepared, event, scope, caller),
      toResult: (error) => refusedWith(error, caller.log),
      onEnd: (reason) => {
        request.signal?.removeEventListener("abort", leave);
        this.#streams.delete(stream);
        this.#metrics.streamEnded(reason);
        scope.end(reason ?? new FleetError("CANCELLED", "The subscription has ended."));
      },
    });
    this.#streams.add(stream);
    this.#metrics.streamStarted();
    if (request.signal?.aborted) leave();
    else request.signal?.addEventListener("abort", leave, { once: true });
    return stream;
  }

  async drain(graceMs: number): Promise<void> {
    this.#draining = true;
    for (const stream of [...this.#streams]) stream.end(draining());
    if (this.#inFlight === 0) return;
    const idle = Promise.withResolvers<void>();
    this.#onIdle = idle.resolve;
    const timer = setTimeout(idle.resolve, graceMs);
    await idle.promise;
    clearTimeout(timer);
  }

  async #prepare(request: SubgraphRequest): Promise<Prepared> {
    if (this.#draining) throw draining();
    const authorization = request.headers.authorization;
    const token = bearerToken(authorization);
    if (authorization && token === null) {
      throw new FleetError("UNAUTHENTICATED", "The authorization must be `Bearer <token>`.", { reason: "InvalidToken" });
    }
    const identity = token === null ? null : await this.#options.verifier.verify(token);
    return { operation: chooseOperation(this.#documents.get(request.query), request), identity, token };
  }

  /** Counts as in flight until it has really ended, also where its caller has stopped waiting. */
  async #run(prepared: Prepared, scope: RequestScope, caller: Caller): Promise<ExecutionResult> {
    if (this.#inFlight >= this.#limits.inFlight) throw tooMany("requests in flight", this.#limits.inFlight);
    this.#inFlight += 1;
    try {
      return await this.#execute(prepared, scope, caller, undefined);
    } finally {
      this.#inFlight -= 1;
      if (this.#inFlight === 0) this.#onIdle();
    }
  }

  #resolveEvent(prepared: Prepared, event: unknown, stream: RequestScope, caller: Caller): Promise<ExecutionResult> {
    return this.#events.run(async () => {
      const scope = new RequestScope({ signal: stream.signal, deadlineMs: this.#limits.eventDeadlineMs });
      try {
        const result = await scope.race(this.#execute(prepared, scope, caller, event));
        this.#metrics.eventResolved();
        return result;
      } finally {
        scope.close();
      }
    }, stream.signal);
  }

  #execute(prepared: Prepared, scope: RequestScope, caller: Caller, event: unknown): Promise<ExecutionResult> {
    const context = this.#options.createContext(requestContext(prepared, scope, caller));
    return executeOperation(this.#options.schema, prepared.operation, context, event);
  }

  #caller(request: SubgraphRequest): Caller {
    const requestId = requestIdFrom(request.headers["x-request-id"]);
    return { requestId, log: this.#options.log.child({ requestId }) };
  }
}

/** Ends the stream at the token's `exp`, however far away that is. */
function endWithToken(stream: OperationStream, expiresAt: number, signal: AbortSignal): void {
  let timer: NodeJS.Timeout | undefined;
  const wait = () => {
    const left = expiresAt - Date.now();
    if (left > 0) timer = setTimeout(wait, Math.min(left, LONGEST_TIMER_MS));
    else stream.end(new FleetError("TOKEN_EXPIRED", "The token has expired: subscribe again with a new one."));
  };
  signal.addEventListener("abort", () => clearTimeout(timer), { once: true });
  wait();
}

function requestContext(prepared: Prepared, scope: RequestScope, { requestId, log }: Caller): RequestContext {
  const { identity, token } = prepared;
  return { requestId, identity, token, signal: scope.signal, deadlineAt: scope.deadlineAt, log };
}

function draining(): FleetError {
  return new FleetError("DRAINING", "This part is stopping: connect again.");
}

function tooMany(what: string, limit: number): FleetError {
  return new FleetError("RESOURCE_EXHAUSTED", `Too many ${what}: try again later.`, { reason: "Overloaded", details: { limit } });
}
