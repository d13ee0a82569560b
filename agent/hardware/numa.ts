import type { NumaDistance, NumaNode, NumaUsage } from "../../schema/generated/proto/hypervisor/v1/agent.ts";
import type { HostChannel } from "../host/host-channel.ts";
import { malformed, meminfoValue, parseCpuList, parseMeminfo } from "./kernel-text.ts";
import type { Unavailable } from "./unavailable.ts";

const DIRECTORY = "/sys/devices/system/node";

export const NUMA_PATHS = [`${DIRECTORY}/online`, ...["cpulist", "meminfo", "distance"].map((file) => `${DIRECTORY}/node[0-9]*/${file}`)];

async function onlineNodes(host: HostChannel): Promise<number[]> {
  const path = `${DIRECTORY}/online`;
  return parseCpuList(await host.read(path), path);
}

/** The NUMA nodes that are online, with or without CPUs. Throws HostReadError where the kernel knows no NUMA. */
export async function readNuma(host: HostChannel, unavailable: Unavailable): Promise<NumaNode[]> {
  const ids = await onlineNodes(host);
  const nodes: NumaNode[] = [];
  for (const [index, id] of ids.entries()) {
    const path = `${DIRECTORY}/node${id}`;
    const field = `numa[${index}]`;
    nodes.push({
      id,
      cpus: (await unavailable.attempt(`${field}.cpus`, async () => parseCpuList(await host.read(`${path}/cpulist`), path))) ?? [],
      memoryTotalBytes: await unavailable.attempt(`${field}.memoryTotalBytes`, () => nodeMemory(host, id, "MemTotal")),
      distances: (await unavailable.attempt(`${field}.distances`, () => readDistances(host, path, ids))) ?? [],
    });
  }
  return nodes;
}

/** The free memory of each NUMA node. Throws HostReadError where the kernel knows no NUMA. */
export async function readNumaUsage(host: HostChannel, unavailable: Unavailable): Promise<NumaUsage[]> {
  const usage: NumaUsage[] = [];
  for (const [index, id] of (await onlineNodes(host)).entries()) {
    const free = await unavailable.attempt(`numa[${index}].memoryFreeBytes`, () => nodeMemory(host, id, "MemFree"));
    usage.push({ id, memoryFreeBytes: free });
  }
  return usage;
}

async function nodeMemory(host: HostChannel, id: number, name: string): Promise<number> {
  const path = `${DIRECTORY}/node${id}/meminfo`;
  return meminfoValue(parseMeminfo(await host.read(path)), name, path);
}

/** The kernel writes one distance for each online node, in their order. */
async function readDistances(host: HostChannel, path: string, ids: number[]): Promise<NumaDistance[]> {
  const text = await host.read(`${path}/distance`);
  const values = text.trim().split(/\s+/).map(Number);
  if (values.length !== ids.length || values.some((value) => !Number.isInteger(value))) throw malformed(`${path}/distance`, text);
  return ids.map((nodeId, index) => ({ nodeId, distance: values[index] ?? 0 }));
}
