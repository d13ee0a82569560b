import type { HardwareUsage } from "../../schema/generated/proto/hypervisor/v1/agent.ts";
import { type HostChannel, type HostNeeds, HostReadError } from "../host/host-channel.ts";
import { LibvirtOnlyHost } from "../host/libvirt-only-host.ts";
import { CPU_DIRECTORY, onlineCpus } from "./cpu.ts";
import { HUGE_PAGES_PATHS, readHugePages } from "./huge-pages.ts";
import { parseCpuinfo, readInteger } from "./kernel-text.ts";
import { readUsageOverLibvirt } from "./libvirt/usage.ts";
import { MEMINFO, readMemoryUsage } from "./memory.ts";
import { NUMA_PATHS, readNumaUsage } from "./numa.ts";
import { Unavailable } from "./unavailable.ts";

export const USAGE_NEEDS: HostNeeds = {
  paths: [
    ...[MEMINFO, "/proc/cpuinfo", `${CPU_DIRECTORY}/online`, `${CPU_DIRECTORY}/cpu[0-9]*/cpufreq/scaling_cur_freq`],
    ...HUGE_PAGES_PATHS,
    ...NUMA_PATHS,
  ],
  commands: [],
};

/** What changes from second to second, read now. Never throws for what the host does not tell. */
export async function readHardwareUsage(host: HostChannel): Promise<HardwareUsage> {
  if (host instanceof LibvirtOnlyHost) return await readUsageOverLibvirt(host);
  const unavailable = new Unavailable();
  const memory = await unavailable.attempt("memory.availableBytes", () => readMemoryUsage(host));
  if (memory === undefined) {
    for (const field of ["memory.usedBytes", "memory.swapUsedBytes"]) {
      unavailable.add(field, "UNREADABLE", "The memory's use cannot be read.");
    }
  } else if (memory.swapUsedBytes === null) {
    unavailable.add("memory.swapUsedBytes", "NOT_SUPPORTED", "The kernel has no swap.");
  }
  return {
    memoryAvailableBytes: memory?.availableBytes,
    // As `free` counts it: what is not available is in use.
    memoryUsedBytes: memory && memory.totalBytes - memory.availableBytes,
    swapUsedBytes: memory?.swapUsedBytes ?? undefined,
    hugePages: (await unavailable.attempt("hugePages", () => readHugePages(host, unavailable))) ?? [],
    currentMhz: await unavailable.attempt("cpu.currentMhz", () => readCurrentMhz(host)),
    numa: (await unavailable.attempt("numa", () => readNumaUsage(host, unavailable))) ?? [],
    unavailable: unavailable.fields,
    observedAt: new Date(),
  };
}

/** The mean over the CPUs that are online: from cpufreq, or from /proc/cpuinfo where there is none (x86 only). */
async function readCurrentMhz(host: HostChannel): Promise<number> {
  const cpus = await onlineCpus(host);
  try {
    const readings = cpus.map((cpu) => readInteger(host, `${CPU_DIRECTORY}/cpu${cpu}/cpufreq/scaling_cur_freq`));
    return mean(await Promise.all(readings)) / 1000;
  } catch (error) {
    if (!(error instanceof HostReadError)) throw error;
    const readings = parseCpuinfo(await host.read("/proc/cpuinfo")).flatMap((cpu) => Number(cpu.get("cpu MHz")) || []);
    if (readings.length === 0) throw error;
    return mean(readings);
  }
}

function mean(values: number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
