import { FleetError } from "../../../../../platform/errors/fleet-error.ts";
import type { Logger } from "../../../../../platform/observability/log.ts";
import type { LibvirtStream } from "../../../../libvirt/stream.ts";
import type { FetchedImages } from "../fetched-images.ts";
import type { PoolSpace, SpaceClaim } from "../pool-space.ts";
import { storageError } from "../storage-errors.ts";
import type { StoragePool, Volume } from "../storage-pool.ts";

export interface SinkOptions {
  pool: StoragePool;
  space: PoolSpace;
  images: Pick<FetchedImages, "begin" | "done">;
  url: string;
  /** How many bytes will come; null where nobody knows. */
  bytes: number | null;
  log: Logger;
  signal: AbortSignal;
}

const ABORT_TIMEOUT_MS = 20_000;

/** A new volume of the image pool that an image is written to as it comes. It is left when it is neither kept nor aborted. */
export class VolumeSink {
  readonly #options: SinkOptions;
  readonly #claim: SpaceClaim;
  readonly #stream: LibvirtStream;
  #volume: Volume;

  private constructor(options: SinkOptions, claim: SpaceClaim, volume: Volume, stream: LibvirtStream) {
    this.#options = options;
    this.#claim = claim;
    this.#volume = volume;
    this.#stream = stream;
  }

  /** FAILED_PRECONDITION InsufficientDisk where it cannot fit. */
  static async open(options: SinkOptions): Promise<VolumeSink> {
    const { pool, space, images, url, bytes, signal } = options;
    const claim = await space.claim(bytes, signal);
    const name = images.begin(url);
    try {
      const volume = await pool.create({ name, format: "raw", capacity: 0 }, signal);
      if (volume === null) throw new FleetError("UNAVAILABLE", `The volume ${name} is there already.`);
      return new VolumeSink(options, claim, volume, await pool.writer(volume, signal));
    } catch (error) {
      await discard(options, name, claim);
      throw error;
    }
  }

  get name(): string {
    return this.#volume.name;
  }

  async write(chunk: Uint8Array): Promise<void> {
    await this.#claim.take(chunk.length);
    try {
      await this.#stream.write(chunk);
    } catch (error) {
      throw storageError(error, "write the image");
    }
  }

  /** Waits until all of it is stored, and counts it. */
  async finish(bytes: number): Promise<void> {
    const { pool, signal } = this.#options;
    try {
      await this.#stream.finish();
    } catch (error) {
      throw storageError(error, "write the image");
    }
    const stored = await pool.find(this.name, signal);
    if (stored?.physicalBytes !== bytes) {
      throw new FleetError("FAILED_PRECONDITION", `Of the image's ${bytes} bytes ${stored?.physicalBytes ?? 0} were stored.`, {
        reason: "StorageFailed",
      });
    }
    this.#volume = stored;
  }

  /** Of what was finished; fewer bytes where it ends before. */
  async read(offset: number, length: number): Promise<Buffer> {
    return await this.#options.pool.read(this.#volume, length, this.#options.signal, offset);
  }

  /** It has its record now. */
  keep(): void {
    this.#claim.release();
    this.#options.images.done(this.name);
  }

  async abort(): Promise<void> {
    await this.#stream[Symbol.asyncDispose]();
    await discard(this.#options, this.name, this.#claim);
  }
}

/** Never throws: what it has to leave is removed before the next fetch. */
async function discard({ pool, images, log }: SinkOptions, name: string, claim: SpaceClaim): Promise<void> {
  try {
    await pool.remove(name, AbortSignal.timeout(ABORT_TIMEOUT_MS));
  } catch (error) {
    log.warn({ err: error, volume: name }, "part of an image is left behind");
  }
  claim.release();
  images.done(name);
}
