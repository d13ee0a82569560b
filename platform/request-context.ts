import { randomUUID } from "node:crypto";
import type { Identity } from "./auth/identity.ts";
import type { Logger } from "./observability/log.ts";

/** What a service knows about the request it works for. Passed on explicitly, as the first argument `ctx`. */
export interface RequestContext {
  /** Follows the request through gateway, subgraph and agent, and is in every log line. */
  readonly requestId: string;
  /** Null where the caller sent no credentials. */
  readonly identity: Identity | null;
  /** The caller's own token, to be passed on to another part. Null for certificates and for the system itself. */
  readonly token: string | null;
  /** Aborts when the caller goes away, its deadline passes or the process drains. */
  readonly signal: AbortSignal;
  /** Milliseconds on the scale of `performance.now()`; null without a deadline. */
  readonly deadlineAt: number | null;
  /** Carries the request id. */
  readonly log: Logger;
}

/** Ids from elsewhere are kept only if they are plain and short: they go into logs and headers. */
const REQUEST_ID = /^[\w.:-]{1,128}$/;

/** A new, random request id. (Node keeps random bytes for UUIDs in store: ten times faster than asking for some each time.) */
export function newRequestId(): string {
  return randomUUID();
}

/** The id that a caller sent, if it is usable, else a new one. */
export function requestIdFrom(sent: string | string[] | null | undefined): string {
  return typeof sent === "string" && REQUEST_ID.test(sent) ? sent : newRequestId();
}

/** The context of work that no caller asked for: timers, sweeps, start-up. Its identity is the control plane's own. */
export function systemContext(name: string, signal: AbortSignal, log: Logger): RequestContext {
  const requestId = newRequestId();
  return { requestId, identity: { kind: "control", name }, token: null, signal, deadlineAt: null, log: log.child({ requestId }) };
}

/** Milliseconds that are left until the deadline, at least 0; null without one. */
export function remainingMs(ctx: Pick<RequestContext, "deadlineAt">): number | null {
  return ctx.deadlineAt === null ? null : Math.max(0, ctx.deadlineAt - performance.now());
}
