import type { PlacementNode, PlacementRequest } from "./placement-types.ts";

/** Why a node does not take an instance, for a program and for people. */
export interface NodeRefusal {
  nodeId: string;
  hostname: string;
  reason: RefusalReason;
  message: string;
}

export type RefusalReason =
  | "NotReady"
  | "Maintenance"
  | "Simulated"
  | "NotAWorker"
  | "RegionMismatch"
  | "ZoneMismatch"
  | "TypeNotSupported"
  | "LabelMismatch"
  | "AntiAffinity"
  | "InsufficientCpu"
  | "InsufficientMemory"
  | "InsufficientDisk"
  | "InsufficientGpu";

interface Refusal {
  reason: RefusalReason;
  /** Made only for those who read it. */
  message(request: PlacementRequest, node: PlacementNode): string;
}

/** The first thing that speaks against the node; null where it fits. What does not change by waiting comes first. */
export function refusalOf(request: PlacementRequest, node: PlacementNode): Refusal | null {
  if (node.simulated) return SIMULATED;
  if (!node.worker) return NOT_A_WORKER;
  if (request.region !== "" && node.region !== request.region) return REGION;
  if (request.zone !== "" && node.zone !== request.zone) return ZONE;
  if (!node.supportedTypes.includes(request.type)) return TYPE;
  for (const [key, value] of request.nodeLabels) if (node.labels[key] !== value) return LABELS;
  if (node.maintenance) return MAINTENANCE;
  if (!node.ready) return NOT_READY;
  if (request.avoid.has(node.nodeId)) return ANTI_AFFINITY;
  const { allocatable, reserved } = node;
  if (request.cpuCores > allocatable.cpuCores - reserved.cpuCores) return CPU;
  if (request.memoryBytes > allocatable.memoryBytes - reserved.memoryBytes) return MEMORY;
  if (request.diskBytes > allocatable.diskBytes - reserved.diskBytes) return DISK;
  if (request.gpuCount > allocatable.gpuCount - reserved.gpuCount) return GPU;
  return null;
}

const SIMULATED: Refusal = { reason: "Simulated", message: () => "There is no real host behind it." };
const NOT_A_WORKER: Refusal = { reason: "NotAWorker", message: () => "Its role is not WORKER." };
const REGION: Refusal = {
  reason: "RegionMismatch",
  message: ({ region }, node) => `It is in region "${node.region}", not in "${region}".`,
};
const ZONE: Refusal = { reason: "ZoneMismatch", message: ({ zone }, node) => `It is in zone "${node.zone}", not in "${zone}".` };
const TYPE: Refusal = {
  reason: "TypeNotSupported",
  message: ({ type }, { supportedTypes }) =>
    `It does not run ${type}, only ${supportedTypes.join(", ") || "no instances at all"}; its instanceTypes say what is missing.`,
};
const LABELS: Refusal = {
  reason: "LabelMismatch",
  message: ({ nodeLabels }, { labels }) =>
    `It lacks ${nodeLabels.flatMap(([key, value]) => (labels[key] === value ? [] : `${key}=${value}`)).join(", ")}.`,
};
const MAINTENANCE: Refusal = { reason: "Maintenance", message: () => "It is in maintenance." };
const NOT_READY: Refusal = { reason: "NotReady", message: () => "Its agent is silent, or says that the host is not well." };
const ANTI_AFFINITY: Refusal = {
  reason: "AntiAffinity",
  message: () => "It has an instance that this one must not be together with.",
};
const CPU: Refusal = {
  reason: "InsufficientCpu",
  message: ({ cpuCores }, { allocatable, reserved }) =>
    `${cpuCores} cores are asked for, ${Math.max(0, allocatable.cpuCores - reserved.cpuCores)} of ${allocatable.cpuCores} are free.`,
};
const MEMORY = insufficientBytes("InsufficientMemory", "memory", (amount) => amount.memoryBytes);
const DISK = insufficientBytes("InsufficientDisk", "disk", (amount) => amount.diskBytes);
const GPU: Refusal = {
  reason: "InsufficientGpu",
  message: ({ gpuCount }, { allocatable, reserved }) =>
    `${gpuCount} GPUs are asked for, ${Math.max(0, allocatable.gpuCount - reserved.gpuCount)} of ${allocatable.gpuCount} are free.`,
};

function insufficientBytes(
  reason: RefusalReason,
  what: string,
  read: (amount: { memoryBytes: number; diskBytes: number }) => number,
): Refusal {
  return {
    reason,
    message: (request, { allocatable, reserved }) =>
      `${read(request)} bytes of ${what} are asked for, ${Math.max(0, read(allocatable) - read(reserved))} of ${read(allocatable)} are free.`,
  };
}
