import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { Logger } from "../../../../platform/observability/log.ts";
import type { LibvirtClient } from "../../../libvirt/client.ts";
import { LibvirtError } from "../../../libvirt/errors.ts";
import type { StorageVolumeReference } from "../../../libvirt/protocol/structures.ts";
import { invalid, precondition } from "../../shared/refusals.ts";
import { noSpace, storageError } from "../storage/storage-errors.ts";
import { wholeSteps } from "../storage/storage-plan.ts";
import type { Volume } from "../storage/storage-pool.ts";
import { volumeXml } from "../storage/storage-xml.ts";
import { makingFile, readMakingFile, readVolumeFile, shown, type VolumeFile, volumeFile } from "./names.ts";
import type { OpenPool } from "./open-pool.ts";
import { capacityOf, isAsDeclared } from "./volume-content.ts";

/** An image of the host, and the volume that it is. */
export interface SourceImage {
  reference: StorageVolumeReference;
  virtualSize: number;
  allocatedBytes: number;
}

/** A volume that is to be there. */
export interface NewVolume extends VolumeFile {
  /** 0: the image's. */
  capacityBytes: number;
  /** What it begins with; null: nothing. */
  image: SourceImage | null;
}

export interface VolumeMakerOptions {
  client: LibvirtClient;
  log: Logger;
  /** What this host is called: several may share a pool. */
  hostname: (signal: AbortSignal) => Promise<string>;
}

const MAX_VOLUMES = 2000;
/** Of a large image. */
const COPY_MS = 6 * 3_600_000;
const UNDO_MS = 60_000;
/** Left to the host. */
const RESERVE_BYTES = 64 * 2 ** 20;

/**
 * Makes volumes so that a half made one is never taken for a whole one: an empty file beside it says that it is being made, and goes last.
 * Whoever finds that file, and made it, starts anew.
 */
export class VolumeMaker {
  readonly #options: VolumeMakerOptions;

  constructor(options: VolumeMakerOptions) {
    this.#options = options;
  }

  /** To be called with the volume to oneself. Gives one that is there already, where it is as asked for; else ALREADY_EXISTS. */
  async make(pool: OpenPool, wanted: NewVolume, signal: AbortSignal): Promise<Volume> {
    const { store } = pool;
    await store.refresh(signal);
    await this.clear(pool, wanted.name, signal);
    const names = await store.names(signal);
    const there = names.find((file) => readVolumeFile(file)?.name === wanted.name);
    if (there !== undefined) return await checkSame(pool, there, wanted, signal);
    await checkRoom(pool, names, wanted, signal);
    const marker = makingFile(wanted.name, await this.#options.hostname(signal));
    try {
      await store.create({ name: marker, format: "raw", capacity: 0 }, signal);
      const volume =
        wanted.image === null ? await this.#makeEmpty(pool, wanted, signal) : await this.#copy(pool, wanted, wanted.image, signal);
      await store.remove(marker, signal);
      return volume;
    } catch (error) {
      // Where libvirt is away nothing can be undone: the file beside it says that it is to be.
      if (FleetError.from(error).code !== "UNAVAILABLE") await this.#undo(pool, wanted.name);
      throw error;
    }
  }

  /** Removes what this host left half made. UNAVAILABLE VolumeBusy where another host makes it, or libvirt still does. */
  async clear(pool: OpenPool, name: string, signal: AbortSignal): Promise<void> {
    const { store } = pool;
    const hostname = await this.#options.hostname(signal);
    for (const file of await store.names(signal)) {
      const making = readMakingFile(file, hostname);
      if (making?.name !== name) continue;
      if (!making.own) throw busy(name, `another host makes it; if that host is gone for good, delete the volume`);
      await this.#removeHalfMade(pool, name, file, signal);
      this.#options.log.info({ pool: pool.name, volume: name }, "a volume was half made, it is removed");
    }
  }

  /** All that this host left half made in a pool. What is busy is left for later. */
  async clearAll(pool: OpenPool, signal: AbortSignal): Promise<void> {
    const hostname = await this.#options.hostname(signal);
    await pool.store.refresh(signal);
    const left = (await pool.store.names(signal)).flatMap((file) => readMakingFile(file, hostname) ?? []);
    for (const { name, own } of left) {
      if (!own) continue;
      const clear = () => this.clear(pool, name, signal);
      await pool.withVolume(name, clear, signal).catch((error: unknown) => {
        this.#options.log.info({ err: error, pool: pool.name, volume: name }, "a half made volume is left for later");
      });
    }
  }

  /** The volume first: as long as the file beside it is there, it is not whole. */
  async #removeHalfMade(pool: OpenPool, name: string, marker: string, signal: AbortSignal): Promise<void> {
    const halves = (await pool.store.names(signal)).filter((file) => readVolumeFile(file)?.name === name);
    for (const half of halves) {
      try {
        await pool.store.remove(half, signal);
      } catch (error) {
        const { cause } = FleetError.from(error);
        if (LibvirtError.isCode(cause, "OPERATION_INVALID")) throw busy(name, "libvirt is still making it");
        throw error;
      }
    }
    await pool.store.remove(marker, signal);
  }

  async #makeEmpty({ store }: OpenPool, wanted: NewVolume, signal: AbortSignal): Promise<Volume> {
    const made = await store.create(
      { name: volumeFile(wanted), format: wanted.format, capacity: wholeSteps(wanted.capacityBytes) },
      signal,
    );
    if (made === null) throw busy(wanted.name, "somebody else makes it at the same time");
    return made;
  }

  async #copy(pool: OpenPool, wanted: NewVolume, image: SourceImage, signal: AbortSignal): Promise<Volume> {
    const { client } = this.#options;
    const task = `copy the image into the volume ${wanted.name}`;
    const capacity = wholeSteps(Math.max(wanted.capacityBytes, image.virtualSize));
    try {
      const { pool: reference } = await client.call("storagePoolLookupByName", { name: pool.name }, { signal });
      const xml = volumeXml({ name: volumeFile(wanted), format: wanted.format, capacity: image.virtualSize });
      await client.call("storageVolCreateXmlFrom", { pool: reference, xml, clonevol: image.reference }, { signal, timeoutMs: COPY_MS });
    } catch (error) {
      throw storageError(error, task);
    }
    await pool.store.refresh(signal);
    const copied = await pool.store.find(volumeFile(wanted), signal);
    if (copied === null || !isAsDeclared(copied, wanted.format)) {
      throw new FleetError("UNAVAILABLE", `The volume ${wanted.name} is not what it should be after it was copied.`);
    }
    if (capacityOf(copied, wanted.format) >= capacity) return copied;
    await pool.store.resize(copied, capacity, signal);
    await pool.store.refresh(signal);
    return (await pool.store.find(copied.name, signal)) ?? copied;
  }

  /** Not by the caller's signal. Never throws: what is left now is removed when somebody looks at it. */
  async #undo(pool: OpenPool, name: string): Promise<void> {
    const signal = AbortSignal.timeout(UNDO_MS);
    try {
      await pool.store.refresh(signal);
      await this.clear(pool, name, signal);
    } catch (error) {
      this.#options.log.warn({ err: error, pool: pool.name, volume: name }, "a half made volume is left behind");
    }
  }
}

async function checkSame({ store }: OpenPool, file: string, wanted: NewVolume, signal: AbortSignal): Promise<Volume> {
  const volume = await store.find(file, signal);
  const format = readVolumeFile(file)?.format;
  if (volume === null || format === undefined) throw busy(wanted.name, "somebody removes it at the same time");
  const capacity = capacityOf(volume, format);
  const isSame = format === wanted.format && (wanted.capacityBytes === 0 || capacity === wholeSteps(wanted.capacityBytes));
  if (isSame) return volume;
  throw new FleetError("ALREADY_EXISTS", `There is a volume ${shown(wanted.name)} already: ${format}, ${capacity} bytes.`, {
    reason: "NameTaken",
    details: { format, capacityBytes: capacity },
  });
}

async function checkRoom({ name, store }: OpenPool, files: readonly string[], wanted: NewVolume, signal: AbortSignal): Promise<void> {
  if (files.length >= MAX_VOLUMES) {
    throw new FleetError("RESOURCE_EXHAUSTED", `The pool ${name} has ${files.length} volumes; a pool has at most ${MAX_VOLUMES}.`, {
      reason: "TooManyVolumes",
    });
  }
  const { image, capacityBytes } = wanted;
  if (image === null) return;
  if (capacityBytes > 0 && capacityBytes < image.virtualSize) {
    const message = `The image needs ${image.virtualSize} bytes, the volume was to have ${capacityBytes}.`;
    throw precondition("VolumeTooSmall", message, { field: "capacity_bytes", minimumBytes: image.virtualSize });
  }
  const room = (await store.freeBytes(signal)) - RESERVE_BYTES;
  if (image.allocatedBytes > room) throw noSpace(`The image takes ${image.allocatedBytes} bytes`);
}

/** INVALID_ARGUMENT CapacityInvalid. */
export function checkCapacity(bytes: number, least: number, most: number): void {
  if (Number.isSafeInteger(bytes) && bytes >= least && bytes <= most) return;
  throw invalid("CapacityInvalid", "capacity_bytes", `A volume has from ${least} to ${most} bytes, not ${bytes}.`);
}

function busy(name: string, why: string): FleetError {
  return new FleetError("UNAVAILABLE", `The volume ${name} is not ready: ${why}.`, { reason: "VolumeBusy" });
}
