import { HostReadError } from "../../host/host-channel.ts";
import type { LibvirtOnlyHost } from "../../host/libvirt-only-host.ts";

const ALL_CELLS = -1;

/**
 * The host's memory now. `availableBytes`: what is free, and what the kernel's caches hold; a little more than the kernel's own estimate, which
 * libvirt does not tell. Throws HostReadError.
 */
export async function readMemoryOverLibvirt(host: LibvirtOnlyHost): Promise<{ totalBytes: number; availableBytes: number }> {
  const { nparams } = await host.ask("nodeGetMemoryStats", { nparams: 0, cellNum: ALL_CELLS });
  const { params } = await host.ask("nodeGetMemoryStats", { nparams, cellNum: ALL_CELLS });
  // "total", "free", "buffers", "cached", in KiB.
  const stats = new Map(params.map(({ field, value }) => [field, value * 1024]));
  const [total, free] = [stats.get("total"), stats.get("free")];
  if (total === undefined || free === undefined) {
    throw new HostReadError("NOT_SUPPORTED", "nodeGetMemoryStats", "libvirt does not tell how much memory the host has, and has free.");
  }
  return { totalBytes: total, availableBytes: Math.min(total, free + (stats.get("buffers") ?? 0) + (stats.get("cached") ?? 0)) };
}
