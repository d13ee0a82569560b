import { access, readFile, realpath, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { precondition } from "../shared/refusals.ts";

/**
 * The disk that holds a directory, as /dev/sda: the kernel limits whole disks, not partitions. FAILED_PRECONDITION IoLimitUnsupported where
 * it is no one disk's file system (btrfs over several, ZFS, a network's).
 */
export async function blockDevice(directory: string, field: string): Promise<string> {
  const { dev } = await stat(directory).catch(() => {
    throw unsupported(`${directory} cannot be read`, field);
  });
  const entry = await realpath(`/sys/dev/block/${major(dev)}:${minor(dev)}`).catch(() => {
    throw unsupported("the file system of its containers is on no disk that the kernel could limit", field);
  });
  const isPartition = await access(join(entry, "partition")).then(
    () => true,
    () => false,
  );
  const uevent = await readFile(join(isPartition ? dirname(entry) : entry, "uevent"), "utf8");
  const name = /^DEVNAME=(.+)$/m.exec(uevent)?.[1];
  if (name === undefined) throw unsupported("the disk of its containers has no device", field);
  return `/dev/${name}`;
}

/** As the C library takes a device number apart. */
function major(dev: number): number {
  return Number((BigInt(dev) >> 8n) & 0xfffn) + Number((BigInt(dev) >> 32n) & ~0xfffn);
}

function minor(dev: number): number {
  return Number(BigInt(dev) & 0xffn) + Number((BigInt(dev) >> 12n) & ~0xffn & 0xffffffffn);
}

function unsupported(why: string, field: string) {
  const message = `This host cannot limit what a container reads and writes: ${why}. Leave ${field} out.`;
  return precondition("IoLimitUnsupported", message, { field });
}
