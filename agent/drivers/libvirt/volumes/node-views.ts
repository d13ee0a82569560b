import { ImageFormat } from "../../../../schema/generated/proto/hypervisor/v1/images.ts";
import type { NodePool, NodeVolume } from "../../../../schema/generated/proto/hypervisor/v1/storage.ts";
import type { Volume } from "../storage/storage-pool.ts";
import type { DiskUse } from "./disk-users.ts";
import { readVolumeFile } from "./names.ts";
import type { HostPool } from "./pools.ts";
import { capacityOf } from "./volume-content.ts";

const NATIVE_FORMATS: Record<string, ImageFormat> = { qcow2: ImageFormat.QCOW2, raw: ImageFormat.RAW };

export interface PoolFigures {
  capacity: number;
  available: number;
  allocation: number;
}

/** A pool as it is told to the control plane. */
export function nodePool(pool: HostPool, figures: PoolFigures | null, system: boolean, message: string): NodePool {
  const { name, kind, nativeKind, path, source, active, managed } = pool;
  return {
    ...{ name, kind, nativeKind, path, source, active, managed, system },
    capacityBytes: figures?.capacity ?? 0,
    availableBytes: figures?.available ?? 0,
    allocatedBytes: figures?.allocation ?? 0,
    message: active ? "" : message,
  };
}

/** A volume as it is told to the control plane: ours by its name and the format that the file's name declares, others as libvirt calls them. */
export function nodeVolume(pool: HostPool, volume: Volume, uses: readonly DiskUse[]): NodeVolume {
  const own = pool.managed && volume.type === "file" ? readVolumeFile(volume.name) : null;
  const modified = Number(volume.modified) * 1000;
  return {
    pool: pool.name,
    name: own?.name ?? volume.name,
    path: volume.path,
    format: NATIVE_FORMATS[own?.format ?? volume.format] ?? ImageFormat.UNSPECIFIED,
    capacityBytes: own === null ? volume.capacity : capacityOf(volume, own.format),
    allocatedBytes: volume.allocatedBytes,
    managed: own !== null,
    usedBy: [...new Set(uses.map(({ user }) => user))].sort(),
    modifiedAt: volume.modified === "" || Number.isNaN(modified) ? undefined : new Date(modified),
  };
}
