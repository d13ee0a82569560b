import type { InstanceSample } from "../instance-driver.ts";
import type { ContainerEngine } from "./engine.ts";
import { isNotFound } from "./engine-errors.ts";

/** podman's, of one container. */
interface PodmanStats {
  ContainerID: string;
  CPUNano: number;
  /** 0: it does not run. */
  MemLimit: number;
  MemUsage: number;
  NetInput: number;
  NetOutput: number;
  BlockInput: number;
  BlockOutput: number;
}

/** Docker's. A container that does not run has none of it. */
interface DockerStats {
  cpu_stats?: { cpu_usage?: { total_usage?: number } };
  memory_stats?: { usage?: number; stats?: Record<string, number> };
  networks?: Record<string, { rx_bytes: number; tx_bytes: number }>;
  blkio_stats?: { io_service_bytes_recursive?: Array<{ op: string; value: number }> | null };
}

type Reading = Omit<InstanceSample, "nativeId" | "cpuCores">;

/** Calls at a time, to an engine that has no call for all of its containers. */
const CONCURRENT = 8;
const TIMEOUT_MS = 10_000;

/** By id, of those that run. podman gives all in one call; Docker wants one for each. */
export async function readSamples(
  engine: ContainerEngine,
  isPodman: boolean,
  ids: readonly string[],
  signal: AbortSignal,
): Promise<Map<string, Reading>> {
  return isPodman ? await podmanSamples(engine, ids, signal) : await dockerSamples(engine, ids, signal);
}

async function podmanSamples(engine: ContainerEngine, ids: readonly string[], signal: AbortSignal): Promise<Map<string, Reading>> {
  // All, not only those asked for: one that has just gone would make the whole answer fail.
  const query = { stream: false };
  const { Stats } = await engine.podman<{ Stats: PodmanStats[] | null }>("GET", "/containers/stats", {
    signal,
    query,
    timeoutMs: TIMEOUT_MS,
  });
  const wanted = new Set(ids);
  const running = (Stats ?? []).filter(({ ContainerID, MemLimit }) => MemLimit !== 0 && wanted.has(ContainerID));
  return new Map(
    running.map((stats) => [
      stats.ContainerID,
      {
        cpuTimeNs: stats.CPUNano,
        memoryUsageBytes: stats.MemUsage,
        memoryCacheBytes: null,
        diskReadBytes: stats.BlockInput,
        diskWriteBytes: stats.BlockOutput,
        networkRxBytes: stats.NetInput,
        networkTxBytes: stats.NetOutput,
      },
    ]),
  );
}

async function dockerSamples(engine: ContainerEngine, ids: readonly string[], signal: AbortSignal): Promise<Map<string, Reading>> {
  const samples = new Map<string, Reading>();
  const rest = ids.values();
  const work = async () => {
    for (const id of rest) {
      const reading = await dockerSample(engine, id, signal);
      if (reading !== null) samples.set(id, reading);
    }
  };
  await Promise.all(Array.from({ length: Math.min(CONCURRENT, ids.length) }, work));
  return samples;
}

async function dockerSample(engine: ContainerEngine, id: string, signal: AbortSignal): Promise<Reading | null> {
  const query = { stream: false, "one-shot": true };
  try {
    return dockerReading(await engine.get<DockerStats>(`/containers/${id}/stats`, { signal, query, timeoutMs: TIMEOUT_MS }));
  } catch (error) {
    if (isNotFound(error)) return null;
    throw error;
  }
}

/** Null for what does not run. */
export function dockerReading({ cpu_stats, memory_stats, networks, blkio_stats }: DockerStats): Reading | null {
  const cpuTimeNs = cpu_stats?.cpu_usage?.total_usage ?? 0;
  if (cpuTimeNs === 0) return null;
  const sum = (values: number[]) => values.reduce((total, value) => total + value, 0);
  const bytes = (op: string) =>
    sum((blkio_stats?.io_service_bytes_recursive ?? []).filter((entry) => entry.op.toLowerCase() === op).map(({ value }) => value));
  const links = Object.values(networks ?? {});
  return {
    cpuTimeNs,
    memoryUsageBytes: memory_stats?.usage ?? null,
    // cgroup v1 calls it cache, v2 file.
    memoryCacheBytes: memory_stats?.stats?.["total_cache"] ?? memory_stats?.stats?.["cache"] ?? memory_stats?.stats?.["file"] ?? null,
    diskReadBytes: bytes("read"),
    diskWriteBytes: bytes("write"),
    networkRxBytes: sum(links.map(({ rx_bytes }) => rx_bytes)),
    networkTxBytes: sum(links.map(({ tx_bytes }) => tx_bytes)),
  };
}
