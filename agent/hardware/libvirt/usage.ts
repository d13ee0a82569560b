import type { HardwareUsage, HugePageUsage, NumaUsage } from "../../../schema/generated/proto/hypervisor/v1/agent.ts";
import type { LibvirtOnlyHost } from "../../host/libvirt-only-host.ts";
import { Unavailable } from "../unavailable.ts";
import { readMemoryOverLibvirt } from "./memory.ts";
import { NOT_TOLD } from "./node-devices.ts";
import { type NumaCell, readTopology } from "./topology.ts";

/** What changes from second to second, as far as libvirt tells it. Never throws for what it does not. */
export async function readUsageOverLibvirt(host: LibvirtOnlyHost): Promise<HardwareUsage> {
  const unavailable = new Unavailable();
  for (const field of ["memory.swapUsedBytes", "cpu.currentMhz"]) unavailable.add(field, "NO_SHELL", NOT_TOLD);
  const memory = await unavailable.attempt("memory.availableBytes", () => readMemoryOverLibvirt(host));
  if (memory === undefined) unavailable.add("memory.usedBytes", "UNREADABLE", "The memory's use cannot be read.");
  const cells = (await unavailable.attempt("numa", async () => readTopology(await host.capabilities()).cells)) ?? [];
  return {
    memoryAvailableBytes: memory?.availableBytes,
    memoryUsedBytes: memory && memory.totalBytes - memory.availableBytes,
    swapUsedBytes: undefined,
    hugePages: (await unavailable.attempt("hugePages", () => hugePages(host, cells))) ?? [],
    currentMhz: undefined,
    numa: (await unavailable.attempt("numa", () => freeMemory(host, cells))) ?? [],
    unavailable: unavailable.fields,
    observedAt: new Date(),
  };
}

/** Of each cell by itself: their numbers may have gaps. */
async function freeMemory(host: LibvirtOnlyHost, cells: readonly NumaCell[]): Promise<NumaUsage[]> {
  return await Promise.all(
    cells.map(async ({ id }) => {
      const { cells: free } = await host.ask("nodeGetCellsFreeMemory", { startCell: id, maxcells: 1 });
      return { id, memoryFreeBytes: free[0] };
    }),
  );
}

async function hugePages(host: LibvirtOnlyHost, cells: readonly NumaCell[]): Promise<HugePageUsage[]> {
  const usage = new Map<number, HugePageUsage>();
  for (const { id, pages } of cells) {
    const huge = pages.toSorted((a, b) => a.sizeBytes - b.sizeBytes).slice(1);
    if (huge.length === 0) continue;
    const sizes = huge.map(({ sizeBytes }) => sizeBytes / 1024);
    const { counts } = await host.ask("nodeGetFreePages", { pages: sizes, startCell: id, cellCount: 1 });
    for (const [index, { sizeBytes, total }] of huge.entries()) {
      const sum = usage.get(sizeBytes) ?? { sizeBytes, total: 0, free: 0 };
      usage.set(sizeBytes, { sizeBytes, total: sum.total + total, free: sum.free + (counts[index] ?? 0) });
    }
  }
  return [...usage.values()].sort((a, b) => a.sizeBytes - b.sizeBytes);
}
