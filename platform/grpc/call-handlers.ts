import { Metadata as GrpcMetadata, status as GrpcStatus, type ServerInterceptingCallInterface } from "@grpc/grpc-js";
import { type CallContext, Metadata, type ServerError } from "nice-grpc";
import { FleetError } from "../errors/fleet-error.ts";
import type { Logger } from "../observability/log.ts";
import type { RequestContext } from "../request-context.ts";
import type { Authenticate, CallMetadata } from "./authenticate.ts";
import { type FleetContext, REQUEST_ID_METADATA, ServerCall } from "./call-context.ts";
import { type CallFacts, takeCallFacts } from "./call-facts.ts";
import { toServerError } from "./error-status.ts";
import type { OpenCalls } from "./open-calls.ts";
import { checkDecoded, checked } from "./request-decoding.ts";
import type { MethodMetrics } from "./server-metrics.ts";

/** What every method of a server shares. */
export interface HandlerEnvironment {
  log: Logger;
  authenticate: Authenticate;
  /** For unary calls that bring no deadline. */
  defaultDeadlineMs: number;
  calls: OpenCalls;
}

export interface HandledMethod {
  path: string;
  requestStream: boolean;
  metrics: MethodMetrics;
}

type Context = CallContext & FleetContext;
type UnaryMethod = (request: unknown, context: FleetContext) => Promise<unknown>;
type StreamMethod = (request: unknown, context: Context) => AsyncIterable<unknown>;

export type CallStatus = Parameters<ServerInterceptingCallInterface["sendStatus"]>[0];

/** How a unary call ended: with an answer, or a status that is not OK. */
export interface UnaryOutcome {
  requestId: string;
  answer?: unknown;
  status: CallStatus;
}

/** Answers one unary call. Never throws. */
export type UnaryHandler = (request: unknown, facts: CallFacts, metadata: CallMetadata) => Promise<UnaryOutcome>;

const OK: CallStatus = { code: GrpcStatus.OK, details: "OK", metadata: null };

/** A method with one answer, between grpc-js and the service: context, deadline, errors, metrics. */
export function handleUnary(environment: HandlerEnvironment, method: HandledMethod, implementation: UnaryMethod): UnaryHandler {
  return async (request, facts, metadata) => {
    const startedAt = performance.now();
    const call = new ServerCall(facts, metadata, environment.defaultDeadlineMs);
    const { requestId } = call;
    environment.calls.add(call, false);
    try {
      const fleet = await call.open(environment.authenticate, environment.log);
      if (call.ended !== null) throw call.ended;
      const answer = await unlessEnded(implementation(checked(request), { fleet }), call);
      method.metrics.ended("OK", startedAt);
      return { requestId, answer, status: OK };
    } catch (error) {
      const trailer = Metadata();
      const { code, details } = failed(error, call, trailer, environment, method, startedAt);
      return { requestId, status: { code: code as number, details, metadata: toGrpcJs(trailer) } };
    } finally {
      environment.calls.remove(call);
      call.dispose();
    }
  };
}

/** A method that answers with a stream. It ends at once with its call, also while the service has nothing to send. */
export function handleStream(environment: HandlerEnvironment, method: HandledMethod, implementation: StreamMethod) {
  return (request: unknown, context: CallContext): AsyncIterable<unknown> => ({
    [Symbol.asyncIterator]: () => new AnswerStream(environment, method, implementation, request, context),
  });
}

class AnswerStream implements AsyncIterator<unknown, undefined> {
  readonly #environment: HandlerEnvironment;
  readonly #method: HandledMethod;
  readonly #start: (fleet: RequestContext) => AsyncIterator<unknown>;
  readonly #context: CallContext;
  readonly #call: ServerCall;
  readonly #startedAt = performance.now();
  #answers: AsyncIterator<unknown> | null = null;
  /** Rejects the `next` that waits. */
  #refuse: ((reason: unknown) => void) | null = null;
  #ended = false;

  constructor(
    environment: HandlerEnvironment,
    method: HandledMethod,
    implementation: StreamMethod,
    request: unknown,
    context: CallContext,
  ) {
    this.#environment = environment;
    this.#method = method;
    this.#context = context;
    this.#call = new ServerCall(takeCallFacts(context), context.metadata, null);
    context.header.set(REQUEST_ID_METADATA, this.#call.requestId);
    this.#start = (fleet) =>
      implementation(checkDecoded(request, method.requestStream), Object.assign(context, { fleet }))[Symbol.asyncIterator]();
    environment.calls.add(this.#call, true);
    this.#call.onAbort = (error) => {
      // Where the client does not read, no `next` waits; the service is released all the same.
      if (this.#refuse === null) this.#release();
      else this.#refuse(error);
    };
  }

  async next(): Promise<IteratorResult<unknown, undefined>> {
    try {
      this.#throwIfEnded();
      this.#answers ??= await this.#open();
      this.#throwIfEnded();
      const answers = this.#answers;
      const result = await new Promise<IteratorResult<unknown>>((resolve, reject) => {
        this.#refuse = reject;
        answers.next().then(resolve, reject);
      });
      if (result.done !== true) return result;
      this.#end();
      this.#method.metrics.ended("OK", this.#startedAt);
      return { done: true, value: undefined };
    } catch (error) {
      this.#close();
      throw failed(error, this.#call, this.#context.trailer, this.#environment, this.#method, this.#startedAt);
    } finally {
      this.#refuse = null;
    }
  }

  /** nice-grpc calls this where the client is gone while an answer waits to be written. */
  async return(): Promise<IteratorResult<unknown, undefined>> {
    if (!this.#ended) {
      this.#call.abort(new FleetError("CANCELLED", "The caller cancelled the request."));
      this.#close();
      this.#method.metrics.ended("CANCELLED", this.#startedAt);
    }
    return { done: true, value: undefined };
  }

  #throwIfEnded(): void {
    if (this.#call.ended !== null) throw this.#call.ended;
  }

  async #open(): Promise<AsyncIterator<unknown>> {
    const fleet = await this.#call.open(this.#environment.authenticate, this.#environment.log);
    if (fleet.identity?.kind === "user") {
      this.#call.abortAt(
        fleet.identity.expiresAt,
        () => new FleetError("TOKEN_EXPIRED", "The token expired: connect again with a new one."),
      );
    }
    // A quiet stream's client learns that it is open.
    this.#context.sendHeader();
    return this.#start(fleet);
  }

  #close(): void {
    this.#release();
    this.#end();
  }

  /** Tells the service that its answers are no longer wanted, without waiting for it. */
  #release(): void {
    this.#answers?.return?.().catch(() => undefined);
    this.#answers = null;
  }

  #end(): void {
    this.#ended = true;
    this.#call.dispose();
    this.#environment.calls.remove(this.#call);
  }
}

/** The answer, or why the call ended before it: a service that does not listen to its signal holds no call. */
function unlessEnded(answer: Promise<unknown>, call: ServerCall): Promise<unknown> {
  return new Promise((resolve, reject) => {
    answer.then(resolve, reject);
    if (call.ended !== null) reject(call.ended);
    else call.onAbort = reject;
  });
}

function failed(
  thrown: unknown,
  call: ServerCall,
  trailer: Metadata,
  { log }: HandlerEnvironment,
  method: HandledMethod,
  startedAt: number,
): ServerError {
  // What a service throws because its call was ended is the consequence; the reason is the cause.
  const error = FleetError.from(call.ended !== null && !(thrown instanceof FleetError) ? call.ended : thrown);
  method.metrics.ended(error.code, startedAt);
  if (error.code === "INTERNAL") {
    log.error({ requestId: call.requestId, method: method.path, err: error.cause ?? error }, "a call failed");
  } else {
    log.debug(
      { requestId: call.requestId, method: method.path, code: error.code, reason: error.reason, cause: error.cause },
      "a call was refused",
    );
  }
  return toServerError(error, trailer);
}

function toGrpcJs(trailer: Metadata): GrpcMetadata {
  const metadata = new GrpcMetadata();
  for (const [key, values] of trailer) {
    for (const value of values) metadata.add(key, typeof value === "string" ? value : Buffer.from(value));
  }
  return metadata;
}
