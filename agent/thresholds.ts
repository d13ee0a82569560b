import type { FileSystemSize } from "./host/host-channel.ts";

const GIB = 1024 ** 3;

/**
 * When a resource is short: `enter` starts the condition, `leave` ends it, so that it does not flap in between.
 * A share alone would call a large disk full that has terabytes left: the smaller of share and bytes counts.
 */
interface Threshold {
  share: number;
  bytes: number;
}

const DISK_FREE: Record<"enter" | "leave", Threshold> = { enter: { share: 0.1, bytes: 20 * GIB }, leave: { share: 0.15, bytes: 30 * GIB } };
const INODES_FREE = { enter: 0.05, leave: 0.08 };
const MEMORY_AVAILABLE: Record<"enter" | "leave", Threshold> = {
  enter: { share: 0.05, bytes: 4 * GIB },
  leave: { share: 0.08, bytes: 6 * GIB },
};
/** Percent of the last minute in which all tasks waited for memory (pressure stall information). */
const STALLED = { enter: 10, leave: 5 };
/** Milliseconds between the host's clock and the control plane's. */
const SKEW = { enter: 5000, leave: 4000 };

/** `short`: what was said before. */
export function isDiskShort(size: FileSystemSize, short: boolean): boolean {
  const limit = short ? "leave" : "enter";
  if (size.availableBytes < bytes(DISK_FREE[limit], size.totalBytes)) return true;
  return size.inodes !== null && size.inodes.available < INODES_FREE[limit] * size.inodes.total;
}

/** `stalledPercent`: null where the kernel does not measure it. */
export function isMemoryShort(totalBytes: number, availableBytes: number, stalledPercent: number | null, short: boolean): boolean {
  const limit = short ? "leave" : "enter";
  if (availableBytes < bytes(MEMORY_AVAILABLE[limit], totalBytes)) return true;
  return stalledPercent !== null && stalledPercent >= STALLED[limit];
}

/** `uncertaintyMs`: how far the measured skew may be off, to either side; what may be no skew is none. */
export function isClockSkewed(skewMs: number, uncertaintyMs: number, skewed: boolean): boolean {
  return Math.abs(skewMs) - uncertaintyMs > (skewed ? SKEW.leave : SKEW.enter);
}

function bytes(threshold: Threshold, total: number): number {
  return Math.min(threshold.bytes, threshold.share * total);
}
