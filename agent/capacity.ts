import type { Resources } from "../schema/generated/proto/hypervisor/v1/common.ts";
import { ACCELERATOR_COUNT_NEEDS, countAccelerators } from "./hardware/accelerators.ts";
import { ONLINE_CPUS, onlineCpus } from "./hardware/cpu.ts";
import { MEMINFO, readMemoryUsage } from "./hardware/memory.ts";
import { type FileSystemSize, type HostChannel, type HostNeeds, HostReadError } from "./host/host-channel.ts";
import { LibvirtOnlyHost } from "./host/libvirt-only-host.ts";

export const CAPACITY_NEEDS: HostNeeds = {
  paths: [ONLINE_CPUS, MEMINFO, ...ACCELERATOR_COUNT_NEEDS.paths],
  commands: [],
};

/** What the host has in all: logical CPUs, memory that the kernel manages, the file system of `diskPath`, GPUs. Throws HostReadError. */
export async function readCapacity(channel: HostChannel, diskPath: string): Promise<Resources> {
  const host = await channel.snapshot(CAPACITY_NEEDS);
  const [cpus, memory, disk, gpuCount] = await Promise.all([
    countCpus(host),
    readMemoryUsage(host),
    readDisk(host, diskPath),
    countAccelerators(host).catch(zeroWithoutPci),
  ]);
  return { cpuCores: cpus, memoryBytes: memory.totalBytes, diskBytes: disk.totalBytes, gpuCount };
}

async function countCpus(host: HostChannel): Promise<number> {
  return host instanceof LibvirtOnlyHost ? (await host.ask("nodeGetInfo", {})).cpus : (await onlineCpus(host)).length;
}

/** A host of which libvirt alone is reached has as much as its largest storage pool, and nothing as long as none runs. */
async function readDisk(host: HostChannel, path: string): Promise<Pick<FileSystemSize, "totalBytes">> {
  if (!(host instanceof LibvirtOnlyHost)) return await host.fileSystem(path);
  return await host.fileSystem().catch((error: unknown) => {
    if (error instanceof HostReadError && error.reason === "NOT_PRESENT") return { totalBytes: 0 };
    throw error;
  });
}

/** Small Arm boards and some microVMs have no PCI bus, hence nothing on it. */
function zeroWithoutPci(error: unknown): number {
  if (error instanceof HostReadError && error.reason === "NOT_PRESENT") return 0;
  throw error;
}
