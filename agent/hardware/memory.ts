import type { MemoryInventory } from "../../schema/generated/proto/hypervisor/v1/agent.ts";
import type { HostChannel } from "../host/host-channel.ts";
import { LibvirtOnlyHost } from "../host/libvirt-only-host.ts";
import { meminfoValue, parseMeminfo } from "./kernel-text.ts";
import { readMemoryOverLibvirt } from "./libvirt/memory.ts";
import type { Unavailable } from "./unavailable.ts";

export const MEMINFO = "/proc/meminfo";

/** Memory that the kernel manages (what firmware and the kernel itself keep is not in it). Throws HostReadError without it. */
export async function readMemory(host: HostChannel, unavailable: Unavailable): Promise<MemoryInventory> {
  const values = parseMeminfo(await host.read(MEMINFO));
  return {
    totalBytes: meminfoValue(values, "MemTotal", MEMINFO),
    swapTotalBytes: await unavailable.attempt("memory.swapTotalBytes", async () => meminfoValue(values, "SwapTotal", MEMINFO)),
  };
}

export interface MemoryUsage {
  totalBytes: number;
  /** What new programs can have without swapping, as the kernel estimates it. */
  availableBytes: number;
  /** Null on a kernel without swap, and where libvirt alone is asked. */
  swapUsedBytes: number | null;
}

/** Throws HostReadError. */
export async function readMemoryUsage(host: HostChannel): Promise<MemoryUsage> {
  if (host instanceof LibvirtOnlyHost) return { ...(await readMemoryOverLibvirt(host)), swapUsedBytes: null };
  const values = parseMeminfo(await host.read(MEMINFO));
  const swapTotal = values.get("SwapTotal");
  const swapFree = values.get("SwapFree");
  return {
    totalBytes: meminfoValue(values, "MemTotal", MEMINFO),
    availableBytes: meminfoValue(values, "MemAvailable", MEMINFO),
    swapUsedBytes: swapTotal === undefined || swapFree === undefined ? null : swapTotal - swapFree,
  };
}
