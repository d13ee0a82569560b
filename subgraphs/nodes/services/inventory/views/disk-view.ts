import type { Disk, FileSystemUse, SmartHealth } from "../../../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import type { ContentOf, Stored } from "../inventory-parts.ts";
import { knownList } from "../unavailable.ts";
import { DISK_HEALTHS, type DiskHealthName, enumName } from "./enum-names.ts";

export type DiskView = ReturnType<typeof diskView>;

/** By name; null where they could not be read. */
export function diskViews(content: ContentOf<"DISKS">, health?: DiskHealthName | null): DiskView[] | null {
  const disks = knownList(content, "disks", content.disks)?.map(diskView);
  if (health === null || health === undefined) return disks ?? null;
  return disks?.filter((disk) => disk.smart?.health === health) ?? null;
}

export function diskView(disk: Stored<Disk>) {
  return {
    ...disk,
    transport: disk.transport || null,
    smart: disk.smart ? smartView(disk.smart) : null,
    fileSystem: fileSystemView(disk.fileSystem),
    partitions: disk.partitions.map((one) => ({ ...one, fileSystem: fileSystemView(one.fileSystem) })),
  };
}

function smartView({ health, checkedAt, ...rest }: Stored<SmartHealth>) {
  return {
    ...rest,
    health: enumName(DISK_HEALTHS, "DISK_HEALTH_", health),
    checkedAt: checkedAt === undefined ? null : new Date(checkedAt),
  };
}

/** Null for what holds none. */
function fileSystemView(use: Stored<FileSystemUse> | undefined) {
  return use?.type ? use : null;
}
