import type { FleetError } from "../../platform/errors/fleet-error.ts";

/** What an agent does about a failed call. */
export type Reaction =
  /** The control plane is away or busy: try again soon, on a new connection where this one is in doubt. */
  | "retry"
  /** An operator has to act first: try again, but rarely. */
  | "wait";

const WAITING_CODES: ReadonlySet<string> = new Set([
  "UNAUTHENTICATED",
  "FORBIDDEN",
  "ALREADY_EXISTS",
  "INVALID_ARGUMENT",
  "FAILED_PRECONDITION",
  "UNIMPLEMENTED",
]);

const CONNECTION_CODES: ReadonlySet<string> = new Set(["UNAVAILABLE", "DRAINING", "INTERNAL"]);

export function reactionTo(error: FleetError): Reaction {
  return WAITING_CODES.has(error.code) ? "wait" : "retry";
}

/** True where the next attempt is better made on a new connection. */
export function doubtsConnection(error: FleetError): boolean {
  // A certificate is looked at when a connection is made: after a renewal, or with a clock that was set, a new one may do.
  return CONNECTION_CODES.has(error.code) || error.code === "UNAUTHENTICATED";
}

/** What an operator should read in the log. */
export function explain(error: FleetError): string {
  if (error.code === "UNAVAILABLE" || error.code === "DEADLINE_EXCEEDED") return "the control plane cannot be reached";
  if (reactionTo(error) === "retry") return "the node cannot be reported";
  if (error.reason === "NodeDeregistered") return "this node was deregistered; the agent waits until an admin admits it again";
  if (error.reason === "HostnameTaken") return "another host holds this hostname; give this one another with --hostname";
  if (error.code === "UNAUTHENTICATED") return "the control plane does not accept this agent's certificate; join again with a new token";
  return "the control plane refuses this node";
}
