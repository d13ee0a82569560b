import type { InterfaceCounters, NetworkCounters } from "../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import type { HostChannel, HostNeeds } from "../../host/host-channel.ts";
import { malformed } from "../kernel-text.ts";
import { Unavailable } from "../unavailable.ts";

const DEV = "/proc/net/dev";
const MAX_INTERFACES = 4096;

export const COUNTERS_NEEDS: HostNeeds = { paths: [DEV], commands: [] };

/**
 * The counters of every interface, all from one moment, without rates. As the kernel sums them up in /proc/net/dev: what was dropped on
 * receipt counts frames too that the hardware had no room for. Never throws for what cannot be read.
 */
export async function readCounters(host: HostChannel): Promise<NetworkCounters> {
  const unavailable = new Unavailable();
  const interfaces = await unavailable.attempt("interfaces", async () => parseCounters(await host.read(DEV)));
  return { observedAt: new Date(), interfaces: interfaces ?? [], unavailable: unavailable.fields };
}

/** The later reading with what was transferred per second since the earlier one; without rates for what was not there, or started anew. */
export function withRates(later: NetworkCounters, earlier: NetworkCounters): NetworkCounters {
  const seconds = ((later.observedAt?.getTime() ?? 0) - (earlier.observedAt?.getTime() ?? 0)) / 1000;
  if (seconds <= 0) return later;
  const before = new Map(earlier.interfaces.map((counters) => [counters.name, counters]));
  const interfaces = later.interfaces.map((now) => {
    const then = before.get(now.name);
    if (then === undefined || COUNTED.some((key) => now[key] < then[key])) return now;
    return {
      ...now,
      rxBytesPerSecond: (now.rxBytes - then.rxBytes) / seconds,
      txBytesPerSecond: (now.txBytes - then.txBytes) / seconds,
      rxPacketsPerSecond: (now.rxPackets - then.rxPackets) / seconds,
      txPacketsPerSecond: (now.txPackets - then.txPackets) / seconds,
    };
  });
  return { ...later, interfaces };
}

const COUNTED = ["rxBytes", "txBytes", "rxPackets", "txPackets"] as const;

/** Two lines of headings, then "  eth0: 1 2 3 …": eight numbers received (bytes, packets, errors, dropped, …), eight sent. */
function parseCounters(text: string): InterfaceCounters[] {
  const lines = text.trimEnd().split("\n").slice(2, MAX_INTERFACES);
  return lines.map((line) => {
    // A name may hold a colon: an alias of old.
    const colon = line.lastIndexOf(":");
    const numbers = line
      .slice(colon + 1)
      .trim()
      .split(/\s+/)
      .map(counter);
    if (colon < 1 || numbers.length < 16 || numbers.some(Number.isNaN)) throw malformed(DEV, line);
    const [rxBytes = 0, rxPackets = 0, rxErrors = 0, rxDropped = 0] = numbers;
    const [txBytes = 0, txPackets = 0, txErrors = 0, txDropped = 0] = numbers.slice(8);
    return { name: line.slice(0, colon).trim(), rxBytes, txBytes, rxPackets, txPackets, rxErrors, txErrors, rxDropped, txDropped };
  });
}

/** The kernel counts to 2^64, messages carry up to 2^53 (9 PB). */
function counter(text: string): number {
  return /^\d+$/.test(text) ? Math.min(Number(text), Number.MAX_SAFE_INTEGER) : Number.NaN;
}
