import type { HostChannel } from "../../host/host-channel.ts";
import { countOf, linkOf, namesIn, textOf } from "../sysfs.ts";

const BLOCK = "/sys/block";
/** The kernel counts sizes in these, whatever the disk's own blocks are. */
const SECTOR_BYTES = 512;
const MAX_PARTITIONS = 256;
/** Drives that disks are put into, flash chips behind a translation, and the boot areas of an eMMC. */
const NOT_DISKS = /^(?:sr|fd|mtdblock|mtd)\d|^mmcblk\d+(?:boot|rpmb)/;

export const BLOCK_PATHS = [
  BLOCK,
  `${BLOCK}/*`,
  ...["dev", "size", "hidden", "slaves", "dm/name", "*/partition", "*/dev", "*/size"].map((name) => `${BLOCK}/*/${name}`),
];

export interface BlockPartition {
  name: string;
  sizeBytes: number;
  /** Major and minor number: "8:1". */
  number: string;
}

/** A whole block device of the kernel's: a disk, or what is made of others (dm, md). */
export interface BlockDevice {
  name: string;
  number: string;
  sizeBytes: number;
  /** In sysfs: "/devices/pci0000:00/0000:00:02.0/virtio1/block/vda". */
  path: string;
  /** One of the ways to a disk that has several (NVMe), which the kernel shows nobody else. */
  hidden: boolean;
  partitions: BlockPartition[];
  /** Names of the devices and partitions that it is made of; empty for a disk. */
  madeOf: string[];
  /** Of a device mapper's: the name in /dev/mapper. */
  mapperName: string | undefined;
}

/** All of them, ordered by name. Throws HostReadError on a kernel without block devices. */
export async function readBlockDevices(host: HostChannel): Promise<BlockDevice[]> {
  const devices: BlockDevice[] = [];
  for (const name of await host.list(BLOCK)) {
    const directory = `${BLOCK}/${name}`;
    const link = await linkOf(host, directory);
    if (link === undefined) continue;
    devices.push({
      name,
      number: (await textOf(host, `${directory}/dev`)) ?? "",
      sizeBytes: await sizeOf(host, directory),
      path: link.slice(link.indexOf("/devices/")),
      hidden: (await countOf(host, `${directory}/hidden`)) === 1,
      partitions: await partitionsOf(host, name),
      madeOf: await namesIn(host, `${directory}/slaves`),
      mapperName: name.startsWith("dm-") ? await textOf(host, `${directory}/dm/name`) : undefined,
    });
  }
  return devices;
}

/** Whether it is hardware, or a virtual machine's: not what the kernel makes of others, of files, or of memory. */
export function isDisk({ name, path, hidden, sizeBytes }: BlockDevice): boolean {
  if (hidden || NOT_DISKS.test(name)) return false;
  // A removable one without a medium has no size.
  return sizeBytes > 0 && (!path.startsWith("/devices/virtual/") || path.includes("/nvme-subsystem/"));
}

async function partitionsOf(host: HostChannel, disk: string): Promise<BlockPartition[]> {
  const partitions: BlockPartition[] = [];
  for (const name of await namesIn(host, `${BLOCK}/${disk}`)) {
    if (!name.startsWith(disk) || partitions.length === MAX_PARTITIONS) continue;
    const directory = `${BLOCK}/${disk}/${name}`;
    if ((await countOf(host, `${directory}/partition`)) === undefined) continue;
    const number = (await textOf(host, `${directory}/dev`)) ?? "";
    partitions.push({ name, sizeBytes: await sizeOf(host, directory), number });
  }
  return partitions;
}

async function sizeOf(host: HostChannel, directory: string): Promise<number> {
  return Number((await textOf(host, `${directory}/size`)) ?? 0) * SECTOR_BYTES;
}
