import {
  status as GrpcStatus,
  Metadata,
  ServerInterceptingCall,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
} from "@grpc/grpc-js";
import type { CallMetadata } from "./authenticate.ts";
import { REQUEST_ID_METADATA } from "./call-context.ts";
import type { CallFacts, ServerSessions } from "./call-facts.ts";
import type { UnaryHandler } from "./call-handlers.ts";

/**
 * Unary methods, answered where grpc-js hands a call to its interceptors. Thousands of agents make little else, and on the way through
 * nice-grpc each call would cost two conversions of its metadata, an AbortController and a generator.
 */
export class UnaryCalls {
  readonly #sessions: ServerSessions;
  readonly #methods = new Map<string, UnaryHandler>();

  constructor(sessions: ServerSessions) {
    this.#sessions = sessions;
  }

  add(path: string, handler: UnaryHandler): void {
    this.#methods.set(path, handler);
  }

  /** For grpc-js. The calls of methods that were not added pass. */
  readonly interceptor: ServerInterceptor = (method, call) => {
    const handler = this.#methods.get(method.path);
    if (handler === undefined) return this.#sessions.interceptor(method, call);
    // The listener that nice-grpc registers is never started.
    return new ServerInterceptingCall(call, { start: () => call.start(new UnaryCall(call, this.#sessions.factsOf(call), handler)) });
  };
}

type CallListener = Parameters<ServerInterceptingCallInterface["start"]>[0];

/** One call: takes its metadata and its message, and answers when the client has said all. */
class UnaryCall implements CallListener {
  readonly #call: ServerInterceptingCallInterface;
  readonly #facts: CallFacts;
  readonly #handler: UnaryHandler;
  #metadata = new Metadata();
  #request: unknown;

  constructor(call: ServerInterceptingCallInterface, facts: CallFacts, handler: UnaryHandler) {
    this.#call = call;
    this.#facts = facts;
    this.#handler = handler;
  }

  onReceiveMetadata(metadata: Metadata): void {
    this.#metadata = metadata;
    this.#call.startRead();
  }

  onReceiveMessage(message: unknown): void {
    if (this.#request !== undefined) {
      this.#refuse("There is more than one request message.");
      return;
    }
    this.#request = message;
    this.#call.startRead();
  }

  onReceiveHalfClose(): void {
    if (this.#request === undefined) this.#refuse("There is no request message.");
    else void this.#answer();
  }

  /** Comes after the regular end, too. */
  onCancel(): void {
    this.#facts.cancelled = true;
    this.#facts.onCancel?.();
  }

  async #answer(): Promise<void> {
    const { requestId, answer, status } = await this.#handler(this.#request, this.#facts, readable(this.#metadata));
    const header = new Metadata();
    header.set(REQUEST_ID_METADATA, requestId);
    this.#call.sendMetadata(header);
    // The status does not wait until the message is written, so that both leave together. Where the message cannot be sent, grpc-js has
    // sent a status by then, and only the first counts.
    if (status.code === GrpcStatus.OK) this.#call.sendMessage(answer, () => undefined);
    this.#call.sendStatus(status);
  }

  #refuse(details: string): void {
    this.#call.sendStatus({ code: GrpcStatus.UNIMPLEMENTED, details, metadata: null });
  }
}

/** As nice-grpc shows metadata: of a name that was sent more than once all values, joined. */
function readable(metadata: Metadata): CallMetadata {
  return {
    get(key: string) {
      const values = metadata.get(key);
      return values.length > 1 && !key.endsWith("-bin") ? values.join(", ") : values[0];
    },
  } as CallMetadata;
}
