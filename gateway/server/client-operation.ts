import type { ApolloServer } from "@apollo/server";
import type { SubscribePayload } from "graphql-ws";
import type { TokenVerifier } from "../../platform/auth/jwt.ts";
import type { Logger } from "../../platform/observability/log.ts";
import type { Graph } from "../execution/graph.ts";
import { coerceVariables, InvalidOperation, isSubscription, type ValidDocument } from "../execution/prepared-operation.ts";
import type { RequestScope } from "../execution/request-scope.ts";
import type { GatewayLimits } from "../limits.ts";
import type { GatewayMetrics } from "../metrics.ts";
import type { EventSink, SubscriptionHandle } from "../subscriptions/event-sink.ts";
import { StreamEnd } from "../subscriptions/stream-end.ts";
import type { SubscriptionHub } from "../subscriptions/subscription-hub.ts";
import { prepareSubscription, type SubscriptionOperation, startPosition } from "../subscriptions/subscription-operation.ts";
import type { Caller } from "./authentication.ts";

/** What the operations of all sockets work with. */
export interface OperationServices {
  readonly graph: Graph;
  readonly apollo: ApolloServer<RequestScope>;
  readonly hub: SubscriptionHub;
  readonly verifier: TokenVerifier;
  readonly limits: GatewayLimits;
  readonly metrics: GatewayMetrics;
  readonly log: Logger;
}

/** Plans of subscriptions, for as long as their documents are remembered. */
const subscriptions = new WeakMap<ValidDocument, SubscriptionOperation>();

/** One operation on a client's socket, of any kind. Its answers and its end go to the sink, unless it was closed before. */
export class ClientOperation {
  readonly #payload: SubscribePayload;
  readonly #caller: Caller & { readonly requestId: string };
  readonly #sink: EventSink;
  readonly #services: OperationServices;
  readonly #onEnd: () => void;
  readonly #gone = new AbortController();
  #handle: SubscriptionHandle | null = null;
  #counted = false;

  constructor(
    payload: SubscribePayload,
    caller: Caller & { readonly requestId: string },
    sink: EventSink,
    services: OperationServices,
    onEnd: () => void,
  ) {
    this.#payload = payload;
    this.#caller = caller;
    this.#sink = sink;
    this.#services = services;
    this.#onEnd = onEnd;
  }

  start(): void {
    try {
      const { query, operationName } = this.#payload;
      const valid = this.#services.graph.operations().validate(query, operationName ?? undefined);
      if (isSubscription(valid.operation)) this.#subscribe(valid);
      else void this.#execute().catch((error: unknown) => this.#finish(toStreamEnd(error)));
    } catch (error) {
      this.#finish(toStreamEnd(error));
    }
  }

  /** Tells the client why, and frees what the operation holds. */
  end(reason: StreamEnd): void {
    this.#finish(reason);
  }

  /** The client has left. */
  close(): void {
    if (this.#gone.signal.aborted) return;
    this.#gone.abort(new DOMException("The client went away.", "AbortError"));
    this.#handle?.close();
    if (this.#counted) this.#services.metrics.subscriptions.dec();
    this.#onEnd();
  }

  onWritable(): void {
    this.#handle?.onWritable();
  }

  #subscribe(valid: ValidDocument): void {
    const { graph, hub, metrics } = this.#services;
    const { identity, token, expiresAt, requestId } = this.#caller;
    const variables = coerceVariables(valid.snapshot, valid.operation, this.#payload.variables);
    let operation = subscriptions.get(valid);
    if (!operation) {
      operation = prepareSubscription(valid);
      subscriptions.set(valid, operation);
    }
    metrics.subscriptions.inc();
    this.#counted = true;
    const handle = hub.subscribe({
      operation,
      variables: this.#payload.variables ?? {},
      start: startPosition(operation, variables),
      credentials: { identity, token, expiresAt, requestId },
      transport: graph.transport(operation.upstream.serviceName),
      dataSources: graph.dataSources,
      sink: this.#guarded(),
    });
    if (this.#gone.signal.aborted) handle.close();
    else this.#handle = handle;
  }

  /** Queries and mutations take the same way as over HTTP. */
  async #execute(): Promise<void> {
    const { apollo, limits, log } = this.#services;
    const { query, operationName, variables, extensions } = this.#payload;
    const { identity, token, requestId } = this.#caller;
    const request = {
      requestId,
      identity,
      token,
      signal: this.#gone.signal,
      deadlineAt: performance.now() + limits.operationMs,
      log: log.child({ requestId }),
    };
    const { body } = await apollo.executeOperation(
      { query, operationName: operationName ?? undefined, variables: variables ?? undefined, extensions: extensions ?? undefined },
      { contextValue: { request } },
    );
    const result = body.kind === "single" ? body.singleResult : body.initialResult;
    if (this.#gone.signal.aborted) return;
    if (result.data === undefined && result.errors) return this.#finish(new StreamEnd(result.errors));
    this.#sink.next(JSON.stringify(result));
    this.#finish(null);
  }

  /** What comes from a stream that is shared reaches the client only while this operation is its own. */
  #guarded(): EventSink {
    const sink = this.#sink;
    const gone = this.#gone.signal;
    return {
      get writable() {
        return sink.writable;
      },
      next: (payload) => {
        if (!gone.aborted) sink.next(payload);
      },
      end: (end) => this.#finish(end),
    };
  }

  #finish(end: StreamEnd | null): void {
    if (this.#gone.signal.aborted) return;
    this.close();
    this.#sink.end(end);
  }
}

function toStreamEnd(error: unknown): StreamEnd {
  if (error instanceof InvalidOperation) return new StreamEnd(error.errors.map((fault) => fault.toJSON()));
  return StreamEnd.from(error);
}
