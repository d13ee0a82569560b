import { FleetError } from "../../../platform/errors/fleet-error.ts";
import type { NetworkCounters } from "../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import { pause } from "../../control-plane/backoff.ts";
import { type HostChannel, HostReadError } from "../../host/host-channel.ts";
import { COUNTERS_NEEDS, readCounters, withRates } from "../network/counters.ts";

/** Whoever asks so soon after another gets the same reading. */
const SHARED_MS = 250;
const MAX_WATCHERS = 100;

export interface WatchedCounters {
  /** Whole seconds, 1 to 60. */
  intervalSeconds: number;
  /** Names; empty: all. */
  interfaces: readonly string[];
}

/** The counters of one host's interfaces. All who want them at about the same time share one reading. */
export class CounterSamples {
  readonly #host: HostChannel;
  #latest: { at: number; reading: Promise<NetworkCounters> } | null = null;
  #watchers = 0;

  constructor(host: HostChannel) {
    this.#host = host;
  }

  /** Throws UNAVAILABLE where the host cannot be reached. */
  read(): Promise<NetworkCounters> {
    const now = performance.now();
    if (this.#latest !== null && now - this.#latest.at < SHARED_MS) return this.#latest.reading;
    const latest = { at: now, reading: this.#readNow() };
    this.#latest = latest;
    latest.reading.catch(() => {
      if (this.#latest === latest) this.#latest = null;
    });
    return latest.reading;
  }

  /** One sample at once, then one at each interval, until the signal aborts. Throws RESOURCE_EXHAUSTED TooManyWatchers; otherwise as `read`. */
  async *watch({ intervalSeconds, interfaces }: WatchedCounters, signal: AbortSignal): AsyncGenerator<NetworkCounters, void, undefined> {
    if (this.#watchers >= MAX_WATCHERS) {
      const message = `The counters of a host are watched ${MAX_WATCHERS} times at most.`;
      throw new FleetError("RESOURCE_EXHAUSTED", message, { reason: "TooManyWatchers" });
    }
    this.#watchers += 1;
    const wanted = interfaces.length === 0 ? null : new Set(interfaces);
    let earlier: NetworkCounters | null = null;
    try {
      while (!signal.aborted) {
        const now = await this.read();
        const sample: NetworkCounters = earlier === null ? now : withRates(now, earlier);
        earlier = now;
        yield wanted === null ? sample : { ...sample, interfaces: sample.interfaces.filter(({ name }) => wanted.has(name)) };
        await pause(untilTurn(intervalSeconds * 1000), signal);
      }
    } finally {
      this.#watchers -= 1;
    }
  }

  async #readNow(): Promise<NetworkCounters> {
    try {
      return await readCounters(await this.#host.snapshot(COUNTERS_NEEDS));
    } catch (error) {
      if (!(error instanceof HostReadError)) throw error;
      throw new FleetError("UNAVAILABLE", `The host cannot be reached: ${error.message}`, { reason: "HostUnreachable", cause: error });
    }
  }
}

/** Milliseconds until the clock shows a multiple of the interval: the same moment for all watchers. One that is closer than half of it is left out. */
function untilTurn(intervalMs: number): number {
  const rest = intervalMs - (performance.now() % intervalMs);
  return rest < intervalMs / 2 ? rest + intervalMs : rest;
}
