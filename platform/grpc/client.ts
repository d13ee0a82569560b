import { type CallOptions, type Channel, type Client, createClient, Metadata, type TsProtoServiceDefinition } from "nice-grpc";
import { FleetError } from "../errors/fleet-error.ts";
import { newRequestId, type RequestContext, remainingMs } from "../request-context.ts";
import { REQUEST_ID_METADATA } from "./call-context.ts";
import { OutgoingCall } from "./outgoing-call.ts";

export interface FleetCallOptions {
  /** The request that this call is made for: its id, what is left of its deadline, and its signal go along. Its token does not. */
  context?: Pick<RequestContext, "requestId" | "deadlineAt" | "signal">;
  /** Milliseconds, at most; null: none but the context's. */
  deadlineMs?: number | null;
  /** Sent as `authorization: Bearer …`. */
  token?: string;
}

export interface GrpcClientOptions {
  /** For calls with one answer; 10 s by default. */
  defaultDeadlineMs?: number;
  /** For calls that answer with a stream; none by default. */
  streamDeadlineMs?: number | null;
  /** Asked before every call, for a token that is renewed. */
  token?: () => string | undefined;
}

/** Methods by the service's definition. They throw FleetError: the server's own, or UNAVAILABLE, DEADLINE_EXCEEDED, CANCELLED, … */
export type GrpcClient<Service extends TsProtoServiceDefinition> = Client<Service, FleetCallOptions>;

/**
 * A client on a channel. Streams are iterators whose first `next` makes the call; `return`, or the end of a `for await`, cancels it at once,
 * also while nothing arrives. Who takes a stream reads or ends it.
 */
export function grpcClient<Service extends TsProtoServiceDefinition>(
  definition: Service,
  channel: Channel,
  options: GrpcClientOptions = {},
): GrpcClient<Service> {
  const raw = createClient(definition, channel) as unknown as Record<string, (request: unknown, options: CallOptions) => unknown>;
  const client: Record<string, (request: unknown, options?: CallOptions & FleetCallOptions) => unknown> = {};
  for (const [name, { responseStream }] of Object.entries(definition.methods)) {
    const method = raw[name] as (request: unknown, options: CallOptions) => unknown;
    const defaultMs = responseStream ? (options.streamDeadlineMs ?? null) : (options.defaultDeadlineMs ?? 10_000);
    client[name] = (request, callOptions = {}) => {
      const outgoing = () => new OutgoingCall(callOptions, metadataOf(callOptions, options), deadlineOf(callOptions, defaultMs));
      return responseStream
        ? new ResponseStream(outgoing, (call) => method(request, call) as AsyncIterable<unknown>)
        : outgoing().run((call) => method(request, call) as Promise<unknown>);
    };
  }
  return client as GrpcClient<Service>;
}

function metadataOf(call: CallOptions & FleetCallOptions, client: GrpcClientOptions): Metadata {
  const metadata = Metadata(call.metadata);
  if (!metadata.has(REQUEST_ID_METADATA)) metadata.set(REQUEST_ID_METADATA, call.context?.requestId ?? newRequestId());
  const token = call.token ?? client.token?.();
  if (token !== undefined) metadata.set("authorization", `Bearer ${token}`);
  return metadata;
}

/** Milliseconds; the shorter of the call's own limit and what its context has left. */
function deadlineOf({ deadlineMs, context }: FleetCallOptions, defaultMs: number | null): number | null {
  const own = deadlineMs === undefined ? defaultMs : deadlineMs;
  const left = context === undefined ? null : remainingMs(context);
  if (own === null || left === null) return own ?? left;
  return Math.min(own, left);
}

/** A stream of answers that holds nothing once it has ended, however it ended. */
class ResponseStream implements AsyncIterableIterator<unknown, undefined> {
  readonly #outgoing: () => OutgoingCall;
  readonly #start: (options: CallOptions) => AsyncIterable<unknown>;
  #call: OutgoingCall | null = null;
  #answers: AsyncIterator<unknown> | null = null;
  #ended = false;

  constructor(outgoing: () => OutgoingCall, start: (options: CallOptions) => AsyncIterable<unknown>) {
    this.#outgoing = outgoing;
    this.#start = start;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<unknown, undefined>> {
    if (this.#ended) return { done: true, value: undefined };
    try {
      this.#answers ??= this.#begin();
      const result = await this.#answers.next();
      if (result.done !== true) return result;
      this.#end();
      return { done: true, value: undefined };
    } catch (error) {
      // `return` ended the call while this waited.
      if (this.#ended) return { done: true, value: undefined };
      const failure = this.#call?.failure(error) ?? FleetError.from(error);
      this.#end();
      throw failure;
    }
  }

  async return(): Promise<IteratorResult<unknown, undefined>> {
    this.#end();
    return { done: true, value: undefined };
  }

  #begin(): AsyncIterator<unknown> {
    this.#call = this.#outgoing();
    return this.#start(this.#call.options())[Symbol.asyncIterator]();
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#call?.cancel();
    this.#call?.dispose();
    this.#answers?.return?.().catch(() => undefined);
  }
}
