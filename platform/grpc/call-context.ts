import type { Identity } from "../auth/identity.ts";
import { bearerToken } from "../auth/jwt.ts";
import { FleetError } from "../errors/fleet-error.ts";
import type { Logger } from "../observability/log.ts";
import { type RequestContext, requestIdFrom } from "../request-context.ts";
import type { Authenticate, CallMetadata } from "./authenticate.ts";
import type { CallFacts } from "./call-facts.ts";

export const REQUEST_ID_METADATA = "x-request-id";

/** What a service's methods get. */
export interface FleetContext {
  fleet: RequestContext;
}

/** `setTimeout` holds no more. */
const MAX_TIMER_MS = 2 ** 31 - 1;
const CLOCK_SLACK_MS = 100;

/**
 * One call from its first byte to its last: request id, deadline, and what ends it before its time: CANCELLED (the client went away),
 * DEADLINE_EXCEEDED, or what `abort` was given. `dispose` releases what it holds.
 */
export class ServerCall {
  readonly requestId: string;
  /** Called once when the call is ended before its time, after the signal has told the service. */
  onAbort: ((error: FleetError) => void) | null = null;
  readonly #facts: CallFacts;
  readonly #metadata: CallMetadata;
  /** Most services never ask for the signal, and one is costly to make. */
  #controller: AbortController | null = null;
  #ended: FleetError | null = null;
  #timers: NodeJS.Timeout[] = [];

  /** `defaultDeadlineMs` holds for a call that brings no deadline; null: such a call has none. */
  constructor(facts: CallFacts, metadata: CallMetadata, defaultDeadlineMs: number | null) {
    this.#facts = facts;
    this.#metadata = metadata;
    this.requestId = requestIdFrom(metadata.get(REQUEST_ID_METADATA));
    if (this.#facts.cancelled) this.abort(this.#clientGone());
    else this.#facts.onCancel = () => this.abort(this.#clientGone());
    // With a deadline grpc-js answers by itself when it passes, and cancels the call.
    if (this.#facts.deadline === Number.POSITIVE_INFINITY && defaultDeadlineMs !== null) {
      this.#facts.deadline = Date.now() + defaultDeadlineMs;
      this.abortAt(this.#facts.deadline, deadlineExceeded);
    }
  }

  /** Why the call was ended before its time; null while it was not. */
  get ended(): FleetError | null {
    return this.#ended;
  }

  get signal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController();
      if (this.#ended !== null) this.#controller.abort(this.#ended);
    }
    return this.#controller.signal;
  }

  /** Ends the call with this error, unless it has ended. */
  abort(error: FleetError): void {
    if (this.#ended !== null) return;
    this.#ended = error;
    this.#controller?.abort(error);
    this.onAbort?.(error);
  }

  /** Ends the call at a time (milliseconds since the epoch). */
  abortAt(time: number, error: () => FleetError): void {
    const timer = setTimeout(() => this.abort(error()), Math.min(MAX_TIMER_MS, Math.max(0, time - Date.now())));
    timer.unref();
    this.#timers.push(timer);
  }

  /** Who calls and what its handler gets. Throws what `authenticate` throws. */
  async open(authenticate: Authenticate, log: Logger): Promise<RequestContext> {
    const metadata = this.#metadata;
    const identity = await authenticate(metadata, this.#facts.peerCertificate);
    return this.#requestContext(identity, identity?.kind === "user" ? bearerToken(metadata.get("authorization")) : null, log);
  }

  dispose(): void {
    this.#facts.onCancel = null;
    this.onAbort = null;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers = [];
  }

  /** Signal and log are made when they are first used. */
  #requestContext(identity: Identity | null, token: string | null, log: Logger): RequestContext {
    const call = this;
    const { requestId } = this;
    const { deadline } = this.#facts;
    let own: Logger | undefined;
    return {
      requestId,
      identity,
      token,
      deadlineAt: deadline === Number.POSITIVE_INFINITY ? null : performance.now() + deadline - Date.now(),
      get signal() {
        return call.signal;
      },
      get log() {
        own ??= log.child({ requestId });
        return own;
      },
    };
  }

  #clientGone(): FleetError {
    // A client stops waiting by its own clock, which started a little earlier.
    const isLate = Date.now() >= this.#facts.deadline - CLOCK_SLACK_MS;
    return isLate ? deadlineExceeded() : new FleetError("CANCELLED", "The caller cancelled the request.");
  }
}

export function deadlineExceeded(): FleetError {
  return new FleetError("DEADLINE_EXCEEDED", "The deadline passed before the answer was ready.");
}
