import type { Resources } from "../schema/generated/proto/hypervisor/v1/common.ts";
import { countAccelerators } from "./hardware/accelerators.ts";
import { onlineCpus } from "./hardware/cpu.ts";
import { readMemoryUsage } from "./hardware/memory.ts";
import { type HostChannel, HostReadError } from "./host/host-channel.ts";

/** What the host has in all: logical CPUs, memory that the kernel manages, the file system of `diskPath`, GPUs. Throws HostReadError. */
export async function readCapacity(host: HostChannel, diskPath: string): Promise<Resources> {
  const [cpus, memory, disk, gpuCount] = await Promise.all([
    onlineCpus(host),
    readMemoryUsage(host),
    host.fileSystem(diskPath),
    countAccelerators(host).catch(zeroWithoutPci),
  ]);
  return { cpuCores: cpus.length, memoryBytes: memory.totalBytes, diskBytes: disk.totalBytes, gpuCount };
}

/** Small Arm boards and some microVMs have no PCI bus, hence nothing on it. */
function zeroWithoutPci(error: unknown): number {
  if (error instanceof HostReadError && error.reason === "NOT_PRESENT") return 0;
  throw error;
}
