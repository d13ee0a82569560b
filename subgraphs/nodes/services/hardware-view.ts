import type { FleetError } from "../../../platform/errors/fleet-error.ts";
import type {
  CpuCache,
  HardwareInventory,
  HardwareUsage,
  NumaDistance,
  NumaNode,
} from "../../../schema/generated/proto/hypervisor/v1/agent.ts";
import { unavailableReason } from "../../kit/agents/node-record.ts";
import type { UsageOutcome } from "./hardware-reads.ts";

/** A value that is null, and why. `field` is its path below the hardware; a path stands for everything below it. */
export interface Unavailable {
  field: string;
  /** One word in CAPITALS. */
  reason: string;
  message: string;
}

export interface CpuView {
  model: string | null;
  vendor: string | null;
  architecture: string | null;
  sockets: number | null;
  physicalCores: number | null;
  threads: number | null;
  threadsPerCore: number | null;
  baseMhz: number | null;
  maxMhz: number | null;
  currentMhz: number | null;
  caches: CpuCache[] | null;
}

export interface MemoryView {
  totalBytes: number | null;
  availableBytes: number | null;
  usedBytes: number | null;
  usedPercent: number | null;
  swapTotalBytes: number | null;
  swapUsedBytes: number | null;
}

export interface NumaView {
  id: number;
  cpus: number[] | null;
  cpuList: string | null;
  memoryTotalBytes: number | null;
  memoryFreeBytes: number | null;
  distances: NumaDistance[] | null;
}

export interface HugePagesView {
  sizeBytes: number;
  total: number;
  free: number | null;
  used: number | null;
}

export interface VirtualizationView {
  hardware: boolean | null;
  technology: string | null;
  nestedPaging: boolean | null;
  iommu: boolean | null;
  nested: boolean | null;
}

export interface HardwareView {
  cpu: CpuView;
  memory: MemoryView;
  numa: NumaView[] | null;
  hugePages: HugePagesView[] | null;
  virtualization: VirtualizationView;
  observedAt: Date | null;
  unavailable: Unavailable[];
}

export interface HardwareSources {
  inventory: { hardware: HardwareInventory; observedAt: Date } | null;
  /** Why there is no inventory. */
  missing: Unavailable["reason"];
  /** Null where none was asked for. */
  usage: UsageOutcome | null;
  /** The volatile fields that were asked for. */
  volatileFields: readonly string[];
}

const MISSING_MESSAGES: Record<string, string> = {
  NOT_REPORTED_YET: "The node's agent has not reported its hardware yet.",
  SIMULATED: "The node is simulated: it has no hardware.",
  NO_AGENT: "No agent stands for this node.",
};

/** The parts of an inventory, for a node that has none. */
const STATIC_FIELDS = ["cpu", "memory.totalBytes", "memory.swapTotalBytes", "numa", "hugePages", "virtualization"];

/** What is stored and what was read now, as one. Nothing is guessed: what is not known is null and in `unavailable`. */
export function hardwareView({ inventory, missing, usage: outcome, volatileFields }: HardwareSources): HardwareView {
  const hardware = inventory?.hardware;
  const usage = outcome && "usage" in outcome ? outcome.usage : null;
  return {
    cpu: cpuView(hardware, usage),
    memory: memoryView(hardware, usage),
    numa: knownList(hardware, "numa", hardware?.numa)?.map((node, index) => numaView(hardware, node, index, usage)) ?? null,
    hugePages: hugePagesView(hardware, usage),
    virtualization: virtualizationView(hardware),
    observedAt: inventory?.observedAt ?? null,
    unavailable: [
      ...(hardware?.unavailable ?? STATIC_FIELDS.map((field) => ({ field, reason: missing, message: MISSING_MESSAGES[missing] ?? "" }))),
      ...(outcome ? usageUnavailable(outcome, volatileFields) : []),
    ],
  };
}

/** Of the fields that were asked for only: the others are null because nobody wanted them. */
function usageUnavailable(outcome: UsageOutcome, fields: readonly string[]): Unavailable[] {
  if ("refusal" in outcome) return fields.map((field) => ({ field, ...refusalOf(outcome.refusal) }));
  // The share is ours, made of what the agent could not read.
  const share = fields.includes("memory.usedPercent")
    ? outcome.usage.unavailable.find(({ field }) => field === "memory.usedBytes")
    : undefined;
  return [
    ...outcome.usage.unavailable.filter(({ field }) => concerns(field, fields)),
    ...(share ? [{ ...share, field: "memory.usedPercent" }] : []),
  ];
}

function cpuView(hardware: HardwareInventory | undefined, usage: HardwareUsage | null): CpuView {
  const cpu = hardware?.cpu;
  return {
    model: cpu?.model ?? null,
    vendor: cpu?.vendor ?? null,
    architecture: cpu?.architecture || null,
    sockets: cpu?.sockets ?? null,
    physicalCores: cpu?.physicalCores ?? null,
    threads: cpu?.threads ?? null,
    threadsPerCore: cpu?.threadsPerCore ?? null,
    baseMhz: cpu?.baseMhz ?? null,
    maxMhz: cpu?.maxMhz ?? null,
    currentMhz: usage?.currentMhz ?? null,
    caches: knownList(hardware, "cpu.caches", cpu?.caches),
  };
}

function memoryView(hardware: HardwareInventory | undefined, usage: HardwareUsage | null): MemoryView {
  const availableBytes = usage?.memoryAvailableBytes ?? null;
  const usedBytes = usage?.memoryUsedBytes ?? null;
  // Both of one reading, so that the share is never above 100.
  const sum = availableBytes === null || usedBytes === null ? 0 : availableBytes + usedBytes;
  return {
    totalBytes: hardware?.memory?.totalBytes ?? null,
    availableBytes,
    usedBytes,
    usedPercent: sum > 0 && usedBytes !== null ? Math.round((usedBytes / sum) * 10_000) / 100 : null,
    swapTotalBytes: hardware?.memory?.swapTotalBytes ?? null,
    swapUsedBytes: usage?.swapUsedBytes ?? null,
  };
}

function numaView(hardware: HardwareInventory | undefined, node: NumaNode, index: number, usage: HardwareUsage | null): NumaView {
  const cpus = knownList(hardware, `numa[${index}].cpus`, node.cpus);
  return {
    id: node.id,
    cpus,
    cpuList: cpus && cpuList(cpus),
    memoryTotalBytes: node.memoryTotalBytes ?? null,
    memoryFreeBytes: usage?.numa.find(({ id }) => id === node.id)?.memoryFreeBytes ?? null,
    distances: knownList(hardware, `numa[${index}].distances`, node.distances),
  };
}

/** By size. What was read now counts more than what is stored: the pools can be resized while the host runs. */
function hugePagesView(hardware: HardwareInventory | undefined, usage: HardwareUsage | null): HugePagesView[] | null {
  if (!hardware && !usage) return null;
  const bySize = new Map<number, HugePagesView>();
  for (const { sizeBytes, total } of hardware?.hugePages ?? []) bySize.set(sizeBytes, { sizeBytes, total, free: null, used: null });
  for (const { sizeBytes, total, free } of usage?.hugePages ?? []) bySize.set(sizeBytes, { sizeBytes, total, free, used: total - free });
  return knownList(
    hardware,
    "hugePages",
    [...bySize.values()].sort((a, b) => a.sizeBytes - b.sizeBytes),
  );
}

/** Null for a list that is empty because it could not be read: a message has no other way to say so. */
function knownList<T>(hardware: HardwareInventory | undefined, path: string, list: T[] | undefined): T[] | null {
  if (
    list === undefined ||
    (list.length === 0 && hardware?.unavailable.some(({ field }) => path === field || path.startsWith(`${field}.`)))
  )
    return null;
  return list;
}

function virtualizationView(hardware: HardwareInventory | undefined): VirtualizationView {
  const features = hardware?.virtualization;
  return {
    hardware: features?.hardware ?? null,
    technology: features?.technology || null,
    nestedPaging: features?.nestedPaging ?? null,
    iommu: features?.iommu ?? null,
    nested: features?.nested ?? null,
  };
}

/** As the kernel writes CPU lists: "0-3,8-11". */
export function cpuList(cpus: readonly number[]): string {
  const ranges: Array<[first: number, last: number]> = [];
  for (const cpu of [...cpus].sort((a, b) => a - b)) {
    const range = ranges.at(-1);
    if (range && cpu === range[1] + 1) range[1] = cpu;
    else ranges.push([cpu, cpu]);
  }
  return ranges.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(",");
}

function refusalOf(error: FleetError): Pick<Unavailable, "reason" | "message"> {
  return { reason: unavailableReason(error), message: error.message };
}

/** Whether a path of the agent ("numa[1].memoryFreeBytes", "hugePages") is about one of the fields that were asked for. */
function concerns(path: string, fields: readonly string[]): boolean {
  const plain = path.replaceAll(/\[\d+\]/g, "");
  return fields.some((field) => field === plain || field.startsWith(`${plain}.`) || plain.startsWith(`${field}.`));
}
