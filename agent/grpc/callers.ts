import { FleetError, notFound } from "../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../platform/request-context.ts";

/**
 * What an agent has for one of its nodes. Throws UNAUTHENTICATED or FORBIDDEN for anyone but the control plane, NOT_FOUND for a node that is
 * not this agent's.
 */
export function ofOwnNode<T>(context: RequestContext, nodeId: string, find: (nodeId: string) => T | null): T {
  requireControlPlane(context);
  const found = find(nodeId);
  if (found === null) throw notFound("Node", nodeId);
  return found;
}

/** Throws UNAUTHENTICATED or FORBIDDEN for anyone but the control plane. */
export function requireControlPlane({ identity }: RequestContext): void {
  if (identity === null) throw new FleetError("UNAUTHENTICATED", "An agent answers to certificates of the control plane only.");
  if (identity.kind !== "control") throw new FleetError("FORBIDDEN", "An agent obeys the control plane only.");
}
