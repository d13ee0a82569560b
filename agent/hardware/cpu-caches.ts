import type { CpuCache } from "../../schema/generated/proto/hypervisor/v1/agent.ts";
import { type HostChannel, HostReadError } from "../host/host-channel.ts";
import { malformed, readInteger } from "./kernel-text.ts";
import type { Unavailable } from "./unavailable.ts";

const CACHE = "/sys/devices/system/cpu/cpu[0-9]*/cache";

export const CPU_CACHES_PATHS = [CACHE, ...["level", "type", "size", "shared_cpu_list"].map((file) => `${CACHE}/index*/${file}`)];

interface CacheKind {
  level: number;
  type: string;
  sizeBytes: number;
  /** The CPU lists of the instances: every CPU of a shared cache describes it again. */
  instances: Set<string>;
}

/** The host's CPU caches by level, type and size, counted once for each instance. Throws HostReadError where none is described. */
export async function readCpuCaches(host: HostChannel, cpus: number[], unavailable: Unavailable): Promise<CpuCache[]> {
  const kinds = new Map<string, CacheKind>();
  let unsized: string | null = null;
  for (const cpu of cpus) {
    const directory = `/sys/devices/system/cpu/cpu${cpu}/cache`;
    for (const index of (await host.list(directory)).filter((name) => name.startsWith("index"))) {
      const path = `${directory}/${index}`;
      const cache = await readCache(host, path);
      if (cache === null) {
        unsized = path;
        continue;
      }
      const key = `${cache.level} ${cache.type} ${cache.sizeBytes}`;
      const kind = kinds.get(key) ?? { ...cache, instances: new Set() };
      kind.instances.add(cache.sharedCpus);
      kinds.set(key, kind);
    }
  }
  if (unsized !== null) unavailable.add("cpu.caches", "NOT_SUPPORTED", `The firmware gives no size for some caches, such as ${unsized}.`);
  return [...kinds.values()]
    .map(({ instances, ...cache }) => ({ level: cache.level, type: cache.type, sizeBytes: cache.sizeBytes, instances: instances.size }))
    .sort((a, b) => a.level - b.level || a.type.localeCompare(b.type) || a.sizeBytes - b.sizeBytes);
}

/** Null where the size is missing, as on Arm hosts whose firmware has no table of caches. */
async function readCache(host: HostChannel, path: string): Promise<(Omit<CacheKind, "instances"> & { sharedCpus: string }) | null> {
  const level = await readInteger(host, `${path}/level`);
  const type = (await host.read(`${path}/type`)).trim();
  let size: string;
  let sharedCpus: string;
  try {
    size = (await host.read(`${path}/size`)).trim();
    sharedCpus = (await host.read(`${path}/shared_cpu_list`)).trim();
  } catch (error) {
    if (error instanceof HostReadError && error.reason === "NOT_PRESENT") return null;
    throw error;
  }
  const match = /^(\d+)K$/.exec(size);
  if (!match) throw malformed(`${path}/size`, size);
  const kilobytes = Number(match[1]);
  return kilobytes === 0 ? null : { level, type, sizeBytes: kilobytes * 1024, sharedCpus };
}
