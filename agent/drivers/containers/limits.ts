import type { InstanceSpec } from "../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { invalid, precondition } from "../shared/refusals.ts";
import type { EngineInfo } from "./engine-types.ts";

/** What a container may use. Quota and period are null where whole cores say it. */
export interface Limits {
  cpuCores: number;
  /** Microseconds. */
  quota: number | null;
  period: number | null;
  memoryBytes: number;
  /** Memory and swap together. */
  swapBytes: number;
  readBps: number;
  writeBps: number;
}

/** What Docker takes, and runc needs to start anything. */
const LEAST_MEMORY_BYTES = 6 * 1024 ** 2;
/** What the kernel takes, in microseconds. */
const PERIOD_US = { least: 1000, most: 1_000_000 };
const LEAST_QUOTA_US = 1000;
const DEFAULT_PERIOD_US = 100_000;

/**
 * From the size and its limits: the smaller one of each acts, and a limit above the size, which placement counts, is refused. There is no
 * swap beyond what `memorySwap` says. INVALID_ARGUMENT with the field.
 */
export function limitsOf({ cpuCores, memoryBytes, limits }: InstanceSpec): Limits {
  if (!Number.isInteger(cpuCores) || cpuCores < 1) {
    throw invalid("CpuCoresInvalid", "spec.cpuCores", `${cpuCores} CPUs were asked for: 1 or more are possible.`);
  }
  if (!Number.isSafeInteger(memoryBytes) || memoryBytes < LEAST_MEMORY_BYTES) {
    throw invalid(
      "MemoryInvalid",
      "spec.memoryBytes",
      `${memoryBytes} bytes of memory are too few: ask for ${LEAST_MEMORY_BYTES} or more.`,
    );
  }
  const given = limits ?? { cpuQuota: 0, cpuPeriod: 0, memoryLimit: 0, memorySwap: 0, ioReadBps: 0, ioWriteBps: 0 };
  for (const [name, value] of Object.entries(given)) {
    if (!Number.isSafeInteger(value) || value < 0) {
      throw invalid("LimitInvalid", `spec.limits.${name}`, `spec.limits.${name} is ${value}; a whole number is needed, 0 for no limit.`);
    }
  }
  const memory = memoryLimit(memoryBytes, given.memoryLimit);
  return {
    ...cpuLimit(cpuCores, given.cpuQuota, given.cpuPeriod),
    memoryBytes: memory,
    swapBytes: swapLimit(memory, given.memorySwap),
    readBps: given.ioReadBps,
    writeBps: given.ioWriteBps,
  };
}

/** Refuses what this host cannot keep to. FAILED_PRECONDITION with the field. */
export function checkLimits(limits: Limits, info: Pick<EngineInfo, "NCPU" | "SwapLimit">): void {
  if (limits.cpuCores > info.NCPU) {
    const message = `This host has ${info.NCPU} CPUs; ${limits.cpuCores} were asked for.`;
    throw precondition("TooManyCpus", message, { field: "spec.cpuCores", most: info.NCPU });
  }
  if (limits.swapBytes > limits.memoryBytes && !info.SwapLimit) {
    const message = "This host's kernel does not limit swap: leave spec.limits.memorySwap out, or boot it with swapaccount=1.";
    throw precondition("SwapLimitUnsupported", message, { field: "spec.limits.memorySwap" });
  }
}

/** The part of a container's HostConfig that can change while it is there. */
export function hostConfigLimits(limits: Limits, info: Pick<EngineInfo, "SwapLimit">): Record<string, number> {
  const { cpuCores, quota, period, memoryBytes, swapBytes } = limits;
  return {
    ...(quota === null || period === null ? { NanoCpus: cpuCores * 1e9 } : { CpuQuota: quota, CpuPeriod: period }),
    Memory: memoryBytes,
    ...(info.SwapLimit ? { MemorySwap: swapBytes } : {}),
  };
}

/** How many cores these are: a fraction where a quota says so. */
export function effectiveCores({ cpuCores, quota, period }: Pick<Limits, "cpuCores" | "quota" | "period">): number {
  return quota === null || period === null ? cpuCores : quota / period;
}

function cpuLimit(cpuCores: number, cpuQuota: number, cpuPeriod: number): Pick<Limits, "cpuCores" | "quota" | "period"> {
  if (cpuQuota === 0) {
    if (cpuPeriod !== 0)
      throw invalid("CpuLimitInvalid", "spec.limits.cpuPeriod", "spec.limits.cpuPeriod says nothing without spec.limits.cpuQuota.");
    return { cpuCores, quota: null, period: null };
  }
  const period = cpuPeriod === 0 ? DEFAULT_PERIOD_US : cpuPeriod;
  if (period < PERIOD_US.least || period > PERIOD_US.most) {
    throw invalid(
      "CpuLimitInvalid",
      "spec.limits.cpuPeriod",
      `spec.limits.cpuPeriod is ${period}; from ${PERIOD_US.least} to ${PERIOD_US.most} are possible.`,
    );
  }
  if (cpuQuota < LEAST_QUOTA_US) {
    throw invalid(
      "CpuLimitInvalid",
      "spec.limits.cpuQuota",
      `spec.limits.cpuQuota is ${cpuQuota}; ${LEAST_QUOTA_US} or more are possible.`,
    );
  }
  if (cpuQuota > cpuCores * period) {
    const message = `spec.limits.cpuQuota gives ${cpuQuota / period} CPUs, which is more than spec.cpuCores (${cpuCores}).`;
    throw invalid("LimitAboveSize", "spec.limits.cpuQuota", message);
  }
  return { cpuCores, quota: cpuQuota, period };
}

function memoryLimit(memoryBytes: number, limit: number): number {
  if (limit === 0) return memoryBytes;
  if (limit > memoryBytes) {
    throw invalid(
      "LimitAboveSize",
      "spec.limits.memoryLimit",
      `spec.limits.memoryLimit (${limit}) is more than spec.memoryBytes (${memoryBytes}).`,
    );
  }
  if (limit < LEAST_MEMORY_BYTES) {
    throw invalid(
      "MemoryInvalid",
      "spec.limits.memoryLimit",
      `${limit} bytes of memory are too few: ${LEAST_MEMORY_BYTES} or more are possible.`,
    );
  }
  return limit;
}

function swapLimit(memoryBytes: number, memorySwap: number): number {
  if (memorySwap === 0) return memoryBytes;
  if (memorySwap < memoryBytes) {
    const message = `spec.limits.memorySwap counts memory and swap together: ${memorySwap} is less than the memory, ${memoryBytes}.`;
    throw invalid("SwapLimitInvalid", "spec.limits.memorySwap", message);
  }
  return memorySwap;
}
