import { callerName, hasRole, type Identity, requireRole } from "../../../../platform/auth/identity.ts";
import { readConsoleSessionId } from "../../../../platform/console-session-id.ts";
import { FleetError, notFound } from "../../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import { type ConsoleSession, ConsoleKind as ProtoKind } from "../../../../schema/generated/proto/hypervisor/v1/consoles.ts";

/** A session as its id tells it, and who asks. */
export interface SessionTarget {
  sessionId: string;
  nodeId: string;
  identity: Identity;
}

/** Longer than any that an agent makes. */
const MAX_ID_LENGTH = 256;

/**
 * Whom to ask, and whether the caller may: operator for an instance's console, admin for a shell. Whether the session exists, only its agent
 * knows. Throws NOT_FOUND for what cannot be an id.
 */
export function sessionTarget(ctx: RequestContext, sessionId: string): SessionTarget {
  requireRole(ctx.identity, "operator");
  const read = sessionId.length <= MAX_ID_LENGTH ? readConsoleSessionId(sessionId) : null;
  if (read === null) throw sessionNotFound(sessionId.slice(0, MAX_ID_LENGTH));
  if (read.kind === "shell") requireRole(ctx.identity, "admin");
  return { sessionId, nodeId: read.nodeId, identity: ctx.identity };
}

export function mayUse(identity: Identity, session: ConsoleSession): boolean {
  return hasRole(identity, session.kind === ProtoKind.SHELL ? "admin" : "operator");
}

/** Rights hang on what an id says: one that says something else than its session is not passed on. */
export function isNamedRight({ id, kind }: ConsoleSession, nodeId: string): boolean {
  const read = readConsoleSessionId(id);
  return read !== null && read.nodeId === nodeId && (read.kind === "shell") === (kind === ProtoKind.SHELL);
}

export function sessionNotFound(sessionId: string): FleetError {
  return notFound("ConsoleSession", sessionId);
}

/** To the caller, a session of a node that there is not, is one that there is not; and it is not the control plane that is stopping. */
export function asSessionError(error: unknown, sessionId: string): FleetError {
  const failure = FleetError.from(error);
  if (failure.code === "DRAINING") return interrupted();
  return failure.code === "NOT_FOUND" ? sessionNotFound(sessionId) : failure;
}

/** The agent ended a stream before its session. */
export function interrupted(): FleetError {
  return new FleetError("UNAVAILABLE", "The node's agent ended the stream before the session: follow it again from the next offset.", {
    reason: "ConsoleInterrupted",
  });
}

/** Who did what with a console, never what was typed or put out. */
export function account(ctx: RequestContext, { sessionId, nodeId, identity }: SessionTarget, what: string, more: object = {}): void {
  ctx.log.info({ subject: callerName(identity), sessionId, nodeId, ...more }, what);
}
