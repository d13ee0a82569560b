import { hasRole, type Identity, requireRole } from "../../../platform/auth/identity.ts";
import { FleetError } from "../../../platform/errors/fleet-error.ts";

/** For calls that agents make about themselves: a certificate, or admin. Which node it is about is checked by `requireOwnNode`. */
export function requireAgentOrAdmin(identity: Identity | null): asserts identity is Identity {
  if (identity?.kind !== "agent") requireRole(identity, "admin");
}

/** For what parts of the control plane tell each other. */
export function requireControlPlane(identity: Identity | null): void {
  if (identity === null) throw new FleetError("UNAUTHENTICATED", "Only the control plane calls this, by its certificate.");
  if (identity.kind !== "control") throw new FleetError("FORBIDDEN", "Only the control plane calls this.");
}

/** The node's own certificate, or admin. An agent may touch only nodes that carry its identity. */
export function requireOwnNode(identity: Identity | null, node: { id: string; agentId: string | null }): void {
  requireAgentOrAdmin(identity);
  if (identity.kind === "agent" && node.agentId !== identity.agentId) {
    throw new FleetError("FORBIDDEN", "This node belongs to another identity.", { reason: "NotYourNode", details: { id: node.id } });
  }
}

/** Viewers read every node, an agent its own. */
export function mayReadNode(identity: Identity | null, node: { agentId: string | null }): boolean {
  return identity?.kind === "agent" ? node.agentId === identity.agentId : hasRole(identity, "viewer");
}

export function nodeDeregistered(id: string): FleetError {
  return new FleetError("FAILED_PRECONDITION", "This node was deregistered; an admin can admit it again (admitNode).", {
    reason: "NodeDeregistered",
    details: { id, state: "DEREGISTERED" },
  });
}

/** NOT_FOUND that names the field, as every refusal of input does. */
export function nodeNotFound(id: string, field = "nodeId"): FleetError {
  return new FleetError("NOT_FOUND", `Node ${JSON.stringify(id.slice(0, 128))} does not exist.`, {
    details: { field, kind: "Node", id: id.slice(0, 128) },
  });
}
