/** Roles, statuses and kinds as both faces show them: the seed's enums without prefix; UNSPECIFIED is null. */
export const NODE_ROLES = ["MASTER", "WORKER"] as const;
export type NodeRole = (typeof NODE_ROLES)[number];

export const NODE_STATUSES = ["PENDING", "READY", "NOT_READY", "UNKNOWN"] as const;
export type NodeStatus = (typeof NODE_STATUSES)[number];

export const NODE_KINDS = ["COMPUTE", "STORAGE", "HYBRID"] as const;
export type NodeKind = (typeof NODE_KINDS)[number];

export const NODE_AVAILABILITIES = ["ONLINE", "OFFLINE", "MAINTENANCE"] as const;
export type NodeAvailability = (typeof NODE_AVAILABILITIES)[number];

export const INSTANCE_TYPES = ["vm", "container", "microvm"] as const;
export type InstanceType = (typeof INSTANCE_TYPES)[number];

export const COMMAND_TYPES = ["drain", "maintenance", "upgrade"] as const;
export type CommandType = (typeof COMMAND_TYPES)[number];

export const CONDITION_STATUSES = ["True", "False", "Unknown"] as const;
export type ConditionStatus = (typeof CONDITION_STATUSES)[number];

export type StringMap = Record<string, string>;

/** All are whole numbers, none is negative. */
export type Resources = {
  /** Logical CPUs. */
  cpuCores: number;
  memoryBytes: number;
  diskBytes: number;
  gpuCount: number;
};

/** One aspect of a node's health, as somebody reports it. */
export type ConditionReport = {
  type: string;
  status: ConditionStatus;
  reason: string;
  message: string;
};

/** One aspect of a node's health, as it is stored and shown. */
export type Condition = ConditionReport & {
  /** ISO 8601; when the status last changed, by the control plane's clock. */
  lastTransitionTime: string;
};

/** What an agent or admin says about a node when it registers it. */
export interface Registration {
  hostname: string;
  ip: string;
  port: number;
  role: NodeRole;
  kind: NodeKind;
  region: string | null;
  zone: string | null;
  capacity: Resources;
  supportedInstanceTypes: InstanceType[];
  /** Null: nothing was said. */
  labels: StringMap | null;
  annotations: StringMap | null;
  simulated: boolean;
  nodeId: string | null;
  clientRequestId: string | null;
  /** Of a node that is added by its libvirt URI; null: nothing was said. */
  uri: string | null;
  machineId: string | null;
  /** The agent that is to report it; null: the caller. */
  agentId: string | null;
}

export interface Heartbeat {
  nodeId: string;
  status: NodeStatus;
  /** Empty: as before. */
  conditions: ConditionReport[];
  /** Null: as before. */
  allocated: Resources | null;
  acknowledgedCommandIds: string[];
  /** The sender's clock, milliseconds since the epoch. */
  sentAt: number | null;
}

export interface NodeFilter {
  role: NodeRole | null;
  status: NodeStatus | null;
  kind: NodeKind | null;
  availability: NodeAvailability | null;
  region: string | null;
  zone: string | null;
  /** A part of the hostname, in lower case. */
  name: string | null;
  /** True: only deregistered nodes. */
  deregistered: boolean;
}

/** A change by an operator: undefined leaves as it is, null clears. */
export interface NodePatch {
  region?: string | null;
  zone?: string | null;
  labels?: StringMap | null;
  annotations?: StringMap | null;
}

/** A node as GraphQL, gRPC and the event log show it: JSON primitives only, times in ISO 8601. */
export type NodeView = {
  id: string;
  hostname: string;
  ip: string | null;
  port: number | null;
  role: NodeRole | null;
  status: NodeStatus;
  /** Whether somebody vouches for it: none before the first heartbeat, expired when nothing was heard for the lease's time. */
  lease: "none" | "running" | "expired";
  kind: NodeKind;
  availability: NodeAvailability;
  maintenance: boolean;
  maintenanceReason: string | null;
  maintenanceSince: string | null;
  region: string | null;
  zone: string | null;
  capacity: Resources | null;
  allocatable: Resources | null;
  allocated: Resources | null;
  supportedInstanceTypes: string[];
  conditions: Condition[];
  labels: StringMap;
  annotations: StringMap;
  uri: string | null;
  /** Added by URI: the agent of another machine stands for it. */
  bridged: boolean;
  simulated: boolean;
  deregistered: boolean;
  agentId: string | null;
  createdAt: string;
  updatedAt: string;
  lastSeen: string | null;
};

/** The stream of the event log that node events are in. */
export const NODE_STREAM = "nodes";
