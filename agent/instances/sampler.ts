import { setTimeout as sleep } from "node:timers/promises";
import type { InstanceStats } from "../../schema/generated/proto/hypervisor/v1/compute.ts";
import type { InstanceDriver, InstanceSample, NativeInstance } from "../drivers/instance-driver.ts";
import { type HostDrivers, within } from "./host-drivers.ts";

export interface SamplerOptions {
  drivers: HostDrivers;
  /** Managed instances that run, by id. */
  running: (instanceIds: readonly string[]) => Map<string, NativeInstance>;
  signal: AbortSignal;
  betweenMs?: number;
}

/** Between the two readings of an instance that was not read before. */
const BETWEEN_MS = 250;
/** An older reading would say what was, rather than what is. */
const MAX_AGE_MS = 60_000;
/** Two readings that are closer are one. */
const MIN_AGE_MS = 100;
const SAMPLE_MS = 15_000;
const MAX_READINGS = 3000;

interface Reading {
  sample: InstanceSample;
  /** On the scale of `performance.now()`. */
  at: number;
  cpuPercent: number | null;
}

interface Round {
  ids: ReadonlySet<string>;
  stats: Promise<Map<string, InstanceStats>>;
}

/** Readings of running instances. Whoever asks while one is made for the same instances shares it; each driver is called once for all. */
export class InstanceSampler {
  readonly #options: SamplerOptions;
  /** By native id: the last one. */
  readonly #readings = new Map<string, Reading>();
  #round: Round | null = null;
  #waiting: { ids: Set<string>; stats: Promise<Map<string, InstanceStats>> } | null = null;

  constructor(options: SamplerOptions) {
    this.#options = options;
  }

  /** Of those that run; no ids: of all. A driver that is away leaves its own out. */
  async sample(instanceIds: readonly string[]): Promise<InstanceStats[]> {
    const running = this.#options.running(instanceIds);
    const ids = [...running.keys()];
    if (ids.length === 0) return [];
    const round = this.#round;
    const stats = await (round && ids.every((id) => round.ids.has(id)) ? round.stats : this.#join(ids));
    return ids.flatMap((id) => stats.get(id) ?? []);
  }

  /** One round at a time; those that come meanwhile share the next. */
  #join(ids: string[]): Promise<Map<string, InstanceStats>> {
    if (this.#round === null) return this.#start(new Set(ids));
    const waiting = this.#waiting;
    if (waiting !== null) {
      for (const id of ids) waiting.ids.add(id);
      return waiting.stats;
    }
    const together = new Set(ids);
    const stats = this.#round.stats.then(
      () => this.#startWaiting(together),
      () => this.#startWaiting(together),
    );
    this.#waiting = { ids: together, stats };
    return stats;
  }

  #startWaiting(ids: Set<string>): Promise<Map<string, InstanceStats>> {
    this.#waiting = null;
    return this.#start(ids);
  }

  #start(ids: Set<string>): Promise<Map<string, InstanceStats>> {
    const stats = this.#read(ids).finally(() => {
      if (this.#round?.stats === stats) this.#round = null;
    });
    this.#round = { ids, stats };
    return stats;
  }

  async #read(ids: ReadonlySet<string>): Promise<Map<string, InstanceStats>> {
    const running = this.#options.running([...ids]);
    const natives = [...running.values()];
    const fresh = await this.#readOnce(natives);
    const unknown = natives.filter(({ nativeId }) => fresh.get(nativeId)?.cpuPercent === null);
    if (unknown.length > 0) {
      await sleep(this.#options.betweenMs ?? BETWEEN_MS, undefined, { signal: this.#options.signal });
      for (const [nativeId, reading] of await this.#readOnce(unknown)) fresh.set(nativeId, reading);
    }
    const now = new Date();
    const stats = new Map<string, InstanceStats>();
    for (const [instanceId, { nativeId }] of running) {
      const reading = fresh.get(nativeId);
      if (reading) stats.set(instanceId, statsOf(instanceId, reading, now));
    }
    return stats;
  }

  async #readOnce(natives: readonly NativeInstance[]): Promise<Map<string, Reading>> {
    const { drivers } = this.#options;
    const read = await Promise.all(
      drivers.all.map((driver) => {
        const ids = natives.filter(({ type }) => driver.types.includes(type)).map(({ nativeId }) => nativeId);
        return ids.length === 0 ? [] : this.#ask(driver, ids);
      }),
    );
    return new Map(read.flat().map((reading) => [reading.sample.nativeId, reading]));
  }

  async #ask(driver: InstanceDriver, nativeIds: string[]): Promise<Reading[]> {
    const startedAt = performance.now();
    const samples = await within(driver, this.#options.signal, (limited) => driver.sample(nativeIds, limited), SAMPLE_MS).catch(() => []);
    const at = (startedAt + performance.now()) / 2;
    return samples.map((sample) => this.#keep({ sample, at, cpuPercent: null }));
  }

  #keep(reading: Reading): Reading {
    const { nativeId } = reading.sample;
    const before = this.#readings.get(nativeId);
    // Counters start anew with each run.
    const isUsable = before !== undefined && reading.at - before.at <= MAX_AGE_MS && reading.sample.cpuTimeNs >= before.sample.cpuTimeNs;
    if (isUsable && reading.at - before.at < MIN_AGE_MS)
      return before.cpuPercent === null ? reading : { ...reading, cpuPercent: before.cpuPercent };
    const kept = isUsable ? { ...reading, cpuPercent: cpuPercent(before, reading) } : reading;
    this.#readings.delete(nativeId);
    this.#readings.set(nativeId, kept);
    for (const oldest of this.#readings.keys()) {
      if (this.#readings.size <= MAX_READINGS) break;
      this.#readings.delete(oldest);
    }
    return kept;
  }
}

/** 0–100 of the instance's own cores. */
function cpuPercent(before: Reading, { sample, at }: Reading): number {
  const busyNs = sample.cpuTimeNs - before.sample.cpuTimeNs;
  const availableNs = (at - before.at) * 1e6 * Math.max(1, sample.cpuCores);
  return availableNs > 0 ? Math.min(100, Math.max(0, (100 * busyNs) / availableNs)) : 0;
}

function statsOf(instanceId: string, { sample, cpuPercent: percent }: Reading, collectedAt: Date): InstanceStats {
  return {
    instanceId,
    cpuUsagePercent: percent ?? 0,
    memoryUsageBytes: sample.memoryUsageBytes ?? 0,
    diskReadBytes: sample.diskReadBytes,
    diskWriteBytes: sample.diskWriteBytes,
    networkRxBytes: sample.networkRxBytes,
    networkTxBytes: sample.networkTxBytes,
    cpuTimeNs: sample.cpuTimeNs,
    memoryCacheBytes: sample.memoryCacheBytes ?? 0,
    collectedAt,
  };
}
