import type { Identity } from "../../../platform/auth/identity.ts";
import { FleetError, notFound } from "../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../platform/request-context.ts";
import type { AgentDirectory } from "./agent-directory.ts";

/** How far the watch of nodes may be behind a registration before it is worth a call. */
const WATCH_LAG_MS = 500;

type AgentIdentity = Extract<Identity, { kind: "agent" }>;

/** For what agents report: an agent's certificate. Which node it is about is checked by `requireOwnNode`. Throws UNAUTHENTICATED, FORBIDDEN. */
export function requireAgent(identity: Identity | null): AgentIdentity {
  if (identity === null) throw new FleetError("UNAUTHENTICATED", "Only a node's own agent reports about it, by its certificate.");
  if (identity.kind !== "agent") throw new FleetError("FORBIDDEN", "Only a node's own agent reports about it.");
  return identity;
}

/**
 * For what agents report: the caller must be the node's own agent. The watch may be a little behind a registration; ClusterService itself is
 * asked before an agent is refused. Throws UNAUTHENTICATED, FORBIDDEN (reason NotYourNode), NOT_FOUND (no such node in service),
 * UNAVAILABLE while it cannot be told whose the node is.
 */
export async function requireOwnNode(directory: AgentDirectory, ctx: RequestContext, nodeId: string): Promise<void> {
  const identity = requireAgent(ctx.identity);
  const known = directory.get(nodeId) ?? (await directory.whenKnown(nodeId, WATCH_LAG_MS, ctx.signal));
  if (known?.agentId === identity.agentId) return;
  const node = await directory.lookUp(nodeId, ctx);
  if (node === null) throw notFound("Node", nodeId);
  if (node.agentId !== identity.agentId) {
    throw new FleetError("FORBIDDEN", "This node belongs to another identity.", { reason: "NotYourNode", details: { id: nodeId } });
  }
}
