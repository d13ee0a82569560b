import type { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type {
  BoardInfo,
  CpuCache,
  CpuVulnerability,
  FirmwareInfo,
  HardwareUsage,
  NumaDistance,
  NumaNode,
  SystemInfo,
} from "../../../../schema/generated/proto/hypervisor/v1/agent.ts";
import { unavailableReason } from "../../../kit/agents/node-record.ts";
import type { ContentOf, Stored } from "./inventory-parts.ts";
import type { Live } from "./live-reads.ts";
import { knownList, neverReported, type Unavailable } from "./unavailable.ts";

type Hardware = ContentOf<"HARDWARE">;

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
  microcode: string | null;
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
  vulnerabilities: CpuVulnerability[] | null;
  firmware: (Omit<Stored<FirmwareInfo>, "type"> & { type: string | null }) | null;
  board: Stored<BoardInfo> | null;
  system: Stored<SystemInfo> | null;
  observedAt: Date | null;
  unavailable: Unavailable[];
}

export interface HardwareSources {
  inventory: { content: Hardware; observedAt: Date } | null;
  /** Why there is no inventory. */
  missing: Unavailable["reason"];
  /** Null where none was asked for. */
  usage: Live<HardwareUsage> | null;
  /** The volatile fields that were asked for. */
  volatileFields: readonly string[];
}

/** The parts of an inventory, for a node that has none. */
const STATIC_FIELDS = ["cpu", "memory.totalBytes", "memory.swapTotalBytes", "numa", "hugePages", "virtualization"].concat([
  "vulnerabilities",
  "firmware",
  "board",
  "system",
]);

/** What is stored and what was read now, as one. Nothing is guessed: what is not known is null and in `unavailable`. */
export function hardwareView({ inventory, missing, usage: outcome, volatileFields }: HardwareSources): HardwareView {
  const hardware = inventory?.content;
  const usage = outcome && "value" in outcome ? outcome.value : null;
  return {
    cpu: cpuView(hardware, usage),
    memory: memoryView(hardware, usage),
    numa: knownList(hardware, "numa", hardware?.numa)?.map((node, index) => numaView(hardware, node, index, usage)) ?? null,
    hugePages: hugePagesView(hardware, usage),
    virtualization: virtualizationView(hardware),
    vulnerabilities: knownList(hardware, "vulnerabilities", hardware?.vulnerabilities),
    firmware: hardware?.firmware ? { ...hardware.firmware, type: hardware.firmware.type || null } : null,
    board: hardware?.board ?? null,
    system: hardware?.system ?? null,
    observedAt: inventory?.observedAt ?? null,
    unavailable: [
      ...(hardware?.unavailable ?? neverReported(STATIC_FIELDS, missing)),
      ...(outcome ? usageUnavailable(outcome, volatileFields) : []),
    ],
  };
}

/** Of the fields that were asked for only: the others are null because nobody wanted them. */
function usageUnavailable(outcome: Live<HardwareUsage>, fields: readonly string[]): Unavailable[] {
  if ("refusal" in outcome) return fields.map((field) => ({ field, ...refusalOf(outcome.refusal) }));
  // The share is ours, made of what the agent could not read.
  const share = fields.includes("memory.usedPercent")
    ? outcome.value.unavailable.find(({ field }) => field === "memory.usedBytes")
    : undefined;
  return [
    ...outcome.value.unavailable.filter(({ field }) => concerns(field, fields)),
    ...(share ? [{ ...share, field: "memory.usedPercent" }] : []),
  ];
}

function cpuView(hardware: Hardware | undefined, usage: HardwareUsage | null): CpuView {
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
    microcode: cpu?.microcode ?? null,
    caches: knownList(hardware, "cpu.caches", cpu?.caches),
  };
}

function memoryView(hardware: Hardware | undefined, usage: HardwareUsage | null): MemoryView {
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

function numaView(hardware: Hardware | undefined, node: Stored<NumaNode>, index: number, usage: HardwareUsage | null): NumaView {
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
function hugePagesView(hardware: Hardware | undefined, usage: HardwareUsage | null): HugePagesView[] | null {
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

function virtualizationView(hardware: Hardware | undefined): VirtualizationView {
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
