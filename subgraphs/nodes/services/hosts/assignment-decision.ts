import { NodeStatus } from "../../../../schema/generated/proto/hypervisor/v1/cluster.ts";
import type { NodeRecord } from "../../../kit/agents/node-record.ts";
import type { BridgedHost } from "../../entities/bridged-host.ts";

/** What decides whether a host stays with its agent. Times are of the database's clock, in milliseconds. */
export interface AssignmentFacts {
  host: Pick<BridgedHost, "uri" | "agentId" | "assignedAt">;
  /** The host's node; undefined where it is not in service. */
  node: Pick<NodeRecord, "status" | "leaseExpired" | "agentId"> | undefined;
  /** Whether its agent follows its list and is willing. */
  hasStream: boolean;
  /** The agent's own node, which its stream names; undefined where that is not in service, or there is no stream. */
  agentNode: Pick<NodeRecord, "status" | "agentId"> | undefined;
  now: number;
  /** An agent has this long to take a host up. */
  settleMs: number;
}

/** keep: it stays. give: to another agent. repair: ClusterService names another agent than this row. */
export type AssignmentDecision = "keep" | "give" | "repair";

/**
 * A host is given to another agent only when ClusterService says that its lease is over (or it was never reported at all), so that its agent
 * has stopped to act on it by its own clock; and when that agent does not follow its list, or its own machine is not heard of.
 */
export function decideAssignment({ host, node, hasStream, agentNode, now, settleMs }: AssignmentFacts): AssignmentDecision {
  if (node === undefined || now - host.assignedAt < settleMs) return "keep";
  if (node.agentId !== host.agentId) return "repair";
  // A socket is on one machine.
  if (host.uri.startsWith("qemu+unix:")) return "keep";
  const isOver = node.leaseExpired || node.status === NodeStatus.PENDING;
  const isThere = hasStream && agentNode?.agentId === host.agentId && agentNode.status !== NodeStatus.UNKNOWN;
  return isOver && !isThere ? "give" : "keep";
}
