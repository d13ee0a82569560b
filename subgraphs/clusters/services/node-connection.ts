import { READY } from "./conditions.ts";
import type { NodeView } from "./node-types.ts";

export const CONNECTION_STATES = ["CONNECTED", "HOST_UNREACHABLE", "AGENT_LOST", "NEVER_CONNECTED", "NO_AGENT"] as const;
export type ConnectionState = (typeof CONNECTION_STATES)[number];

/** How the control plane is connected with a host: by its own agent, or by one that stands for it. */
export interface NodeConnectionView {
  state: ConnectionState;
  /** ISO 8601. */
  lastContactAt: string | null;
  lastError: string | null;
  bridged: boolean;
}

/** The condition by which an agent tells whether it reaches the host that it stands for. */
const HOST_REACHABLE = "HostReachable";

/** Derived from the lease, and from what the agent says of its way to the host. */
export function nodeConnection(node: NodeView): NodeConnectionView {
  const { bridged } = node;
  const host = node.conditions.find(({ type }) => type === HOST_REACHABLE);
  const isLost = host?.status === "False";
  // While the host is not reached, the agent's own heartbeats are no contact with it.
  const lastContactAt = isLost ? earlier(host.lastTransitionTime, node.lastSeen) : node.lastSeen;
  if (node.lease === "expired") {
    const ready = node.conditions.find(({ type }) => type === READY);
    return { state: "AGENT_LOST", lastContactAt, lastError: ready?.message || null, bridged };
  }
  if (node.lease === "none")
    return { state: node.agentId === null ? "NO_AGENT" : "NEVER_CONNECTED", lastContactAt, lastError: null, bridged };
  if (isLost) return { state: "HOST_UNREACHABLE", lastContactAt, lastError: host.message || host.reason || null, bridged };
  return { state: "CONNECTED", lastContactAt, lastError: null, bridged };
}

function earlier(a: string, b: string | null): string {
  return b !== null && b < a ? b : a;
}
