import { FleetError } from "../../../platform/errors/fleet-error.ts";
import { formatHostPort } from "../../../platform/grpc/listen-address.ts";
import { agentUri } from "../../../platform/tls/certificate-names.ts";
import { type Node, type NodeAvailability, NodeRole, NodeStatus } from "../../../schema/generated/proto/hypervisor/v1/cluster.ts";
import type { NodeCondition, Resources } from "../../../schema/generated/proto/hypervisor/v1/common.ts";

/** What the control plane's other parts need to know of a node. */
export interface NodeRecord {
  readonly nodeId: string;
  readonly hostname: string;
  readonly status: NodeStatus;
  readonly availability: NodeAvailability;
  /** No host behind it: nothing can be asked. */
  readonly simulated: boolean;
  /** Null for a node that no agent stands for. */
  readonly agentId: string | null;
  /** `host:port` of its agent's gRPC; null where it told none. */
  readonly address: string | null;
  /** Whether the agent has been silent for longer than its lease. */
  readonly leaseExpired: boolean;
  /** The operator's intent: nothing new goes there. */
  readonly maintenance: boolean;
  /** Whether it takes instances at all: not a control plane's own machine. */
  readonly worker: boolean;
  readonly region: string;
  readonly zone: string;
  readonly labels: Readonly<Record<string, string>>;
  /** "vm", "container", "microvm": what really runs there. */
  readonly supportedInstanceTypes: readonly string[];
  /** What may be handed out in all; zero where the host did not tell. */
  readonly allocatable: Resources;
  /** What its agent says is handed out; null before it told. */
  readonly allocated: Resources | null;
  readonly conditions: readonly NodeCondition[];
}

/** The reason that ClusterService gives a node's Ready condition when its lease runs out. */
const LEASE_EXPIRED = "LeaseExpired";

export function nodeRecord(node: Node): NodeRecord {
  const ready = node.conditions.find(({ type }) => type === "Ready");
  return {
    nodeId: node.id,
    hostname: node.hostname,
    status: node.status,
    availability: node.availability,
    simulated: node.simulated,
    agentId: node.agentId || null,
    address: node.ip && node.port ? formatHostPort({ host: node.ip, port: node.port }) : null,
    leaseExpired: node.status === NodeStatus.UNKNOWN || ready?.reason === LEASE_EXPIRED,
    maintenance: node.maintenance,
    worker: node.role === NodeRole.WORKER,
    region: node.region,
    zone: node.zone,
    labels: node.metadata?.labels ?? {},
    supportedInstanceTypes: node.supportedInstanceTypes,
    allocatable: node.allocatable ?? NOTHING,
    allocated: node.allocated ?? null,
    conditions: node.conditions,
  };
}

const NOTHING: Resources = { cpuCores: 0, memoryBytes: 0, diskBytes: 0, gpuCount: 0 };

/** Where a node's agent is called, and who it must be. Throws UNAVAILABLE, with a reason, for a node that is not to be called now. */
export function callTarget(record: NodeRecord): { address: string; peerUri: string } {
  if (record.simulated) throw refusal("Simulated", "The node is simulated: there is no host to ask.", record);
  if (record.agentId === null) throw refusal("NoAgent", "No agent stands for this node.", record);
  if (record.leaseExpired) throw refusal("NodeOffline", "The node's agent has not been heard of for longer than its lease.", record);
  if (record.address === null) throw refusal("NoAddress", "The node's agent has not said where it is reached.", record);
  return { address: record.address, peerUri: agentUri(record.agentId) };
}

/** UNAVAILABLE with the node and its state, which is what a caller can act on. */
export function refusal(
  reason: AgentRefusal,
  message: string,
  { nodeId, status }: Pick<NodeRecord, "nodeId"> & { status?: NodeStatus },
): FleetError {
  return new FleetError("UNAVAILABLE", message, { reason, details: { nodeId, ...(status === undefined ? {} : { status }) } });
}

/** The refusal as a word for `unavailable`: "NodeOffline" is NODE_OFFLINE; without a reason, the code. */
export function unavailableReason({ reason, code }: FleetError): string {
  return reason?.replaceAll(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase() ?? code;
}

/** Why an agent was not called, or did not answer. */
export type AgentRefusal =
  | "Simulated"
  | "NoAgent"
  | "NoAddress"
  | "NodeOffline"
  /** ClusterService has not been reached yet: nothing is known of any node. */
  | "DirectoryNotReady"
  | "AgentTimeout"
  | "AgentUnreachable"
  /** Too many calls wait already. */
  | "TooManyCalls";
