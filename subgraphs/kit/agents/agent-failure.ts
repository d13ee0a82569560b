import { type FleetError, notFound } from "../../../platform/errors/fleet-error.ts";
import type { AgentDirectory } from "./agent-directory.ts";
import { type NodeRecord, refusal } from "./node-record.ts";

/** The node whose agent is to be called. Throws NOT_FOUND, and UNAVAILABLE (reason DirectoryNotReady) while nothing is known of any node. */
export function knownNode(directory: AgentDirectory, nodeId: string): NodeRecord {
  const record = directory.get(nodeId);
  if (record) return record;
  if (!directory.synced) throw refusal("DirectoryNotReady", "The nodes are not known yet: try again shortly.", { nodeId });
  throw notFound("Node", nodeId);
}

/** What the caller is told: an agent that is slow or away is a fact about the node, not a failure of the request. */
export function agentFailure(error: FleetError, record: NodeRecord): FleetError {
  if (error.code === "DEADLINE_EXCEEDED") return refusal("AgentTimeout", "The node's agent did not answer in time.", record);
  if (error.code === "UNAVAILABLE" && error.reason === undefined)
    return refusal("AgentUnreachable", "The node's agent cannot be reached.", record);
  return error;
}
