import type { CallContext } from "nice-grpc";
import type { Identity } from "../auth/identity.ts";
import { bearerToken } from "../auth/jwt.ts";
import { FleetError } from "../errors/fleet-error.ts";
import type { Logger } from "../observability/log.ts";
import { type RequestContext, requestIdFrom } from "../request-context.ts";
import type { Authenticate } from "./authenticate.ts";
import { takeCallFacts } from "./call-facts.ts";

export const REQUEST_ID_METADATA = "x-request-id";

/** What a service's methods get beside nice-grpc's own context. */
export interface FleetContext {
  fleet: RequestContext;
}

/** `setTimeout` holds no more. */
const MAX_TIMER_MS = 2 ** 31 - 1;
const CLOCK_SLACK_MS = 100;

/**
 * One call from its first byte to its last: request id, deadline, the signal that ends it, and why. `dispose` releases what it holds.
 * It aborts with a FleetError: CANCELLED (the client went away), DEADLINE_EXCEEDED, or what `abort` was given.
 */
export class ServerCall {
  readonly requestId: string;
  readonly #facts;
  readonly #context: CallContext;
  readonly #controller = new AbortController();
  readonly #onCancel = () => this.abort(this.#clientGone());
  #timers: NodeJS.Timeout[] = [];

  /** `defaultDeadlineMs` holds for a call that brings no deadline; null: such a call has none. */
  constructor(context: CallContext, defaultDeadlineMs: number | null) {
    this.#context = context;
    this.#facts = takeCallFacts(context);
    this.requestId = requestIdFrom(context.metadata.get(REQUEST_ID_METADATA));
    context.header.set(REQUEST_ID_METADATA, this.requestId);
    if (context.signal.aborted) this.#onCancel();
    else context.signal.addEventListener("abort", this.#onCancel, { once: true });
    // With a deadline grpc-js answers by itself when it passes, and cancels the call.
    if (this.#facts.deadline === Number.POSITIVE_INFINITY && defaultDeadlineMs !== null) {
      this.#facts.deadline = Date.now() + defaultDeadlineMs;
      this.abortAt(this.#facts.deadline, deadlineExceeded);
    }
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Ends the call with this error, unless it has ended. */
  abort(error: FleetError): void {
    if (!this.#controller.signal.aborted) this.#controller.abort(error);
  }

  /** Ends the call at a time (milliseconds since the epoch). */
  abortAt(time: number, error: () => FleetError): void {
    const timer = setTimeout(() => this.abort(error()), Math.min(MAX_TIMER_MS, Math.max(0, time - Date.now())));
    timer.unref();
    this.#timers.push(timer);
  }

  /** Who calls and what its handler gets. Throws what `authenticate` throws. */
  async open(authenticate: Authenticate, log: Logger): Promise<RequestContext> {
    const { metadata } = this.#context;
    const identity = await authenticate(metadata, this.#facts.peerCertificate);
    return requestContext({
      requestId: this.requestId,
      identity,
      token: identity?.kind === "user" ? bearerToken(metadata.get("authorization")) : null,
      signal: this.signal,
      deadlineAt: this.#facts.deadline === Number.POSITIVE_INFINITY ? null : performance.now() + this.#facts.deadline - Date.now(),
      log,
    });
  }

  dispose(): void {
    this.#context.signal.removeEventListener("abort", this.#onCancel);
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers = [];
  }

  #clientGone(): FleetError {
    // A client stops waiting by its own clock, which started a little earlier.
    return Date.now() >= this.#facts.deadline - CLOCK_SLACK_MS
      ? deadlineExceeded()
      : new FleetError("CANCELLED", "The caller cancelled the request.");
  }
}

export function deadlineExceeded(): FleetError {
  return new FleetError("DEADLINE_EXCEEDED", "The deadline passed before the answer was ready.");
}

/** Its log is made when it is first used: most calls never write a line. */
function requestContext(fields: Omit<RequestContext, "log"> & { log: Logger; identity: Identity | null }): RequestContext {
  const { log, requestId, ...rest } = fields;
  let own: Logger | undefined;
  return {
    ...rest,
    requestId,
    get log() {
      own ??= log.child({ requestId });
      return own;
    },
  };
}
