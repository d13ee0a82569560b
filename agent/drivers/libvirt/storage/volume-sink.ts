import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { Logger } from "../../../../platform/observability/log.ts";
import type { LibvirtStream } from "../../../libvirt/stream.ts";
import type { FetchedImages } from "./fetched-images.ts";
import type { ImageInspector } from "./image-inspector.ts";
import type { Transferred, TransferSink } from "./image-transfer.ts";
import { noSpace, storageError } from "./storage-errors.ts";
import type { StoragePool, Volume } from "./storage-pool.ts";

export interface SinkOptions {
  pool: StoragePool;
  images: FetchedImages;
  inspector: ImageInspector;
  url: string;
  /** How many bytes will come; null where nobody knows. */
  bytes: number | null;
  log: Logger;
  signal: AbortSignal;
}

/** Left to the host. */
const RESERVE_BYTES = 256 * 2 ** 20;
const ABORT_TIMEOUT_MS = 20_000;

/** A new volume of the image pool that an image is written to as it comes. */
export class VolumeSink implements TransferSink {
  readonly #options: SinkOptions;
  readonly #volume: Volume;
  readonly #stream: LibvirtStream;
  readonly #room: number;
  #written = 0;

  private constructor(options: SinkOptions, volume: Volume, stream: LibvirtStream, room: number) {
    this.#options = options;
    this.#volume = volume;
    this.#stream = stream;
    this.#room = room;
  }

  /** FAILED_PRECONDITION NoSpace where it cannot fit. To be called soon after a refresh of the pool. */
  static async open(options: SinkOptions): Promise<VolumeSink> {
    const { pool, images, url, bytes, signal } = options;
    const room = (await pool.freeBytes(signal)) - RESERVE_BYTES;
    if ((bytes ?? 0) > room) throw noSpace(`The image has ${bytes} bytes`);
    const name = images.begin(url);
    try {
      const volume = await pool.create({ name, format: "raw", capacity: 0 }, signal);
      if (volume === null) throw new FleetError("UNAVAILABLE", `The volume ${name} is there already.`);
      return new VolumeSink(options, volume, await pool.writer(volume, signal), room);
    } catch (error) {
      await discard(options, name);
      throw error;
    }
  }

  async write(chunk: Uint8Array): Promise<void> {
    this.#written += chunk.length;
    if (this.#written > this.#room) throw noSpace(`The image has more than ${this.#room} bytes`);
    try {
      await this.#stream.write(chunk);
    } catch (error) {
      throw storageError(error, "write the image");
    }
  }

  /** Looks at what was stored, and notes that it is whole. */
  async finish({ bytes, sha256 }: Transferred): Promise<void> {
    const { pool, images, inspector, url, signal } = this.#options;
    const { name } = this.#volume;
    try {
      await this.#stream.finish();
    } catch (error) {
      throw storageError(error, "write the image");
    }
    const stored = await pool.find(name, signal);
    if (stored?.physicalBytes !== bytes) {
      throw new FleetError("FAILED_PRECONDITION", `Of the image's ${bytes} bytes ${stored?.physicalBytes ?? 0} were stored.`, {
        reason: "StorageFailed",
      });
    }
    const { format, virtualSize } = await inspector.facts(stored, "at that URL", null, signal);
    await images.complete({ url, volume: name, size: bytes, sha256, format, virtualSize, fetchedAt: new Date().toISOString() }, signal);
    images.done(name);
  }

  async abort(): Promise<void> {
    await this.#stream[Symbol.asyncDispose]();
    await discard(this.#options, this.#volume.name);
  }
}

/** Never throws: what it has to leave is removed before the next fetch. */
async function discard({ pool, images, log }: SinkOptions, name: string): Promise<void> {
  try {
    await pool.remove(name, AbortSignal.timeout(ABORT_TIMEOUT_MS));
  } catch (error) {
    log.warn({ err: error, volume: name }, "part of an image is left behind");
  }
  images.done(name);
}
