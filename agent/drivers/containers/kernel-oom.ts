import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import os from "node:os";

/** One record of the kernel's log is at most this long. */
const RECORD_BYTES = 8192;
/** More than the log's default buffer holds. */
const MAX_RECORDS = 20_000;

/**
 * Whether the kernel's log says that a container ran out of memory since `since`. Engines know it only where the kernel tells them by the
 * means that they expect: podman's monitor, on cgroup v1, hears nothing from newer kernels. False where the log cannot be read.
 */
export async function kernelSaysOutOfMemory(containerId: string, since: Date): Promise<boolean> {
  const file = await open("/dev/kmsg", constants.O_RDONLY | constants.O_NONBLOCK).catch(() => null);
  if (file === null) return false;
  const sinceUptimeUs = (since.getTime() - (Date.now() - os.uptime() * 1000)) * 1000;
  try {
    const buffer = Buffer.alloc(RECORD_BYTES);
    for (let count = 0; count < MAX_RECORDS; count += 1) {
      const length = await readRecord(file, buffer);
      if (length === null) return false;
      if (isOutOfMemory(buffer.toString("utf8", 0, length), containerId, sinceUptimeUs)) return true;
    }
    return false;
  } finally {
    await file.close();
  }
}

/** Its length, 0 for one that was overwritten before it was read; null at the end. */
async function readRecord(file: FileHandle, buffer: Buffer): Promise<number | null> {
  try {
    const { bytesRead } = await file.read(buffer, 0, buffer.length, null);
    return bytesRead === 0 ? null : bytesRead;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPIPE" ? 0 : null;
  }
}

/** A record is "priority,sequence,microseconds since boot,flags;text". The memory cgroup's path ends in the container's id. */
export function isOutOfMemory(record: string, containerId: string, sinceUptimeUs: number): boolean {
  const end = record.indexOf(";");
  const text = record.slice(end + 1);
  if (!text.startsWith("oom-kill:") || !text.includes(containerId)) return false;
  const at = Number(record.slice(0, end).split(",")[2]);
  // Both clocks are read from the same machine; a second covers their rounding.
  return at >= sinceUptimeUs - 1e6;
}
