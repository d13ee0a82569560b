import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { Logger } from "../../../../platform/observability/log.ts";
import type { StoredImage } from "./image-store.ts";
import type { DiskPlan } from "./storage-plan.ts";
import { wholeSteps } from "./storage-plan.ts";
import type { StoragePool, Volume } from "./storage-pool.ts";
import type { StoragePools } from "./storage-pools.ts";

/** A volume and the pool that has it. */
export interface PlacedVolume {
  pool: StoragePool;
  volume: Volume;
}

/** What is to be undone if something fails later; noted before it is made, because making it may be what fails. */
export interface MadeVolumes {
  note(pool: StoragePool, name: string): void;
  /** It was there already, and is not ours to remove. */
  forget(pool: StoragePool, name: string): void;
}

/** More than a fresh qcow2 file takes, and less than a guest's data: only what is smaller may be thrown away as half made. */
const HALF_MADE_MAX_BYTES = 4 * 2 ** 20;

/** What a qcow2 file of no size has, and some more. */
const UNSIZED_MAX_BYTES = 256 * 1024;

/** The disks of instances: qcow2 volumes, empty or on top of an image. */
export class InstanceDisks {
  readonly #pools: StoragePools;
  readonly #log: Logger;

  constructor(pools: StoragePools, log: Logger) {
    this.#pools = pools;
    this.#log = log;
  }

  /** To be called before the others: libvirt tells what its files were when it looked last. */
  async refresh(signal: AbortSignal): Promise<void> {
    await Promise.all(this.#pools.instances.map((pool) => pool.refresh(signal)));
  }

  /** The disk as it is to be; made, made anew or grown where it is not. One that is larger stays. */
  async ensure(disk: DiskPlan, image: StoredImage | null, made: MadeVolumes, signal: AbortSignal): Promise<PlacedVolume> {
    const capacity = sizeOf(disk, image);
    const found = (await this.find(disk, signal)) ?? (await this.#make(disk, capacity, image, made, signal));
    if (found === null) {
      // A file that libvirt had not seen before: whole, or left behind by a daemon that was killed.
      const appeared = (await this.find(disk, signal)) ?? (await this.#make(disk, capacity, image, made, signal));
      if (appeared === null) throw new FleetError("UNAVAILABLE", `Somebody else makes the volume ${disk.volume} at the same time.`);
      return appeared;
    }
    if (found.volume.capacity >= capacity) return found;
    await found.pool.resize(found.volume, capacity, signal);
    return { ...found, volume: { ...found.volume, capacity } };
  }

  /** One that stands alone, and has nothing in it yet. FAILED_PRECONDITION DiskInTheWay where there is a file with its name. */
  async makeEmpty(disk: DiskPlan, capacity: number, made: MadeVolumes, signal: AbortSignal): Promise<PlacedVolume> {
    const pool = this.#pools.forType(disk.type);
    made.note(pool, disk.volume);
    const volume = await pool.create({ name: disk.volume, format: "qcow2", capacity }, signal);
    if (volume !== null) return { pool, volume };
    made.forget(pool, disk.volume);
    throw inTheWay(disk);
  }

  /** Null where it is not there or only half made. Wherever it is: the directory for its type may have been configured later. */
  async find(disk: DiskPlan, signal: AbortSignal): Promise<PlacedVolume | null> {
    const first = this.#pools.forType(disk.type);
    for (const pool of [first, ...this.#pools.instances.filter((other) => other !== first)]) {
      const volume = await pool.find(disk.volume, signal);
      if (volume !== null && isWhole(volume, disk)) return { pool, volume };
    }
    return null;
  }

  /** Null: there is a file with that name. */
  async #make(
    disk: DiskPlan,
    capacity: number,
    image: StoredImage | null,
    made: MadeVolumes,
    signal: AbortSignal,
  ): Promise<PlacedVolume | null> {
    const pool = this.#pools.forType(disk.type);
    await this.#clearHalfMade(disk, signal);
    made.note(pool, disk.volume);
    const backing = disk.fromImage && image !== null ? { backing: { path: image.path, format: image.format } } : {};
    const volume = await pool.create({ name: disk.volume, format: "qcow2", capacity, ...backing }, signal);
    if (volume !== null) return { pool, volume };
    made.forget(pool, disk.volume);
    return null;
  }

  async #clearHalfMade(disk: DiskPlan, signal: AbortSignal): Promise<void> {
    for (const pool of this.#pools.instances) {
      const volume = await pool.find(disk.volume, signal);
      if (volume === null || isWhole(volume, disk)) continue;
      if (volume.physicalBytes > HALF_MADE_MAX_BYTES) {
        const message = `The volume ${disk.volume} is there and is not the disk that it should be; it is kept, because it may hold data. Move it away.`;
        throw new FleetError("FAILED_PRECONDITION", message, { reason: "DiskUnexpected" });
      }
      this.#log.info({ volume: disk.volume }, "a disk was half made, it is made anew");
      await pool.remove(disk.volume, signal);
    }
  }
}

function inTheWay({ volume }: DiskPlan): FleetError {
  const message = `The host has a volume ${volume} already, which may hold data: it is left of an earlier placement. Move it away.`;
  return new FleetError("FAILED_PRECONDITION", message, { reason: "DiskInTheWay" });
}

/** FAILED_PRECONDITION DiskTooSmall where the image does not fit. */
function sizeOf(disk: DiskPlan, image: StoredImage | null): number {
  if (!disk.fromImage || image === null) return wholeSteps(disk.sizeBytes);
  if (disk.sizeBytes > 0 && disk.sizeBytes < image.virtualSize) {
    const message = `The disk ${disk.name} has ${disk.sizeBytes} bytes, its image needs ${image.virtualSize}.`;
    throw new FleetError("FAILED_PRECONDITION", message, {
      reason: "DiskTooSmall",
      details: { field: "spec.disks", minimumBytes: image.virtualSize },
    });
  }
  return wholeSteps(Math.max(disk.sizeBytes, image.virtualSize));
}

/** qemu-img writes the size late, and what a disk stands on last. */
function isWhole(volume: Volume, disk: DiskPlan): boolean {
  const { format, capacity, physicalBytes, backingPath } = volume;
  // Where the size is not there yet, libvirt tells the length of the file instead.
  const hasSize = capacity !== physicalBytes || physicalBytes > UNSIZED_MAX_BYTES;
  return format === "qcow2" && hasSize && (backingPath !== null) === disk.fromImage;
}
