import { posix } from "node:path";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { Logger } from "../../../../platform/observability/log.ts";
import { pause } from "../../../control-plane/backoff.ts";
import type { LibvirtClient } from "../../../libvirt/client.ts";
import { LibvirtError } from "../../../libvirt/errors.ts";
import type { StoragePoolReference, StorageVolumeReference } from "../../../libvirt/protocol/structures.ts";
import type { LibvirtStream } from "../../../libvirt/stream.ts";
import { waitAtMost } from "../../../libvirt/wait.ts";
import { openPool } from "./open-pool.ts";
import { SharedLock } from "./shared-lock.ts";
import { mayPass, storageError } from "./storage-errors.ts";
import { type NewVolume, readVolumeXml, type VolumeFacts, volumeXml } from "./storage-xml.ts";

export interface Volume extends VolumeFacts {
  name: string;
  reference: StorageVolumeReference;
}

export interface PoolOptions {
  client: LibvirtClient;
  log: Logger;
  name: string;
  directory: string;
  /** Finds and starts it; by default it is also defined where it is not there. */
  open?: () => Promise<StoragePoolReference>;
}

const ATTEMPTS = 20;
const FIRST_PAUSE_MS = 25;
const LONGEST_PAUSE_MS = 500;
/** libvirt looks into every file of the directory: between two refreshes lies twice as long as the first one took, within these bounds. */
const REFRESH_GAP_MS = { least: 50, most: 1000 };
const REFRESH_TIMEOUT_MS = 60_000;
/** Of a few bytes at the beginning of a volume. */
const READ_TIMEOUT_MS = 30_000;

/**
 * A directory of the host as a pool of libvirt's, which is defined and started whenever it is not there. What may pass (a busy volume, a
 * pool that somebody stopped) is tried again for some seconds.
 */
export class StoragePool {
  /** Where the pool is found, without a "/" at the end. */
  readonly directory: string;
  readonly #options: PoolOptions;
  readonly #client: LibvirtClient;
  /** libvirt refuses to read a pool while a volume is made in it. */
  readonly #lock = new SharedLock();
  #reference: Promise<StoragePoolReference> | null = null;
  #refresh: { done: Promise<void>; begun: boolean } | null = null;
  #nextRefreshAt = Number.NEGATIVE_INFINITY;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#client = options.client;
    this.directory = posix.join(options.directory, "/").slice(0, -1);
  }

  /** Makes sure that it can be used now. FAILED_PRECONDITION PoolElsewhere where a pool with its name has another directory. */
  async open(signal: AbortSignal): Promise<void> {
    this.#reference = null;
    await this.#pool(signal);
  }

  /** Null: there is none, or there is no file behind it any more. Type, format, capacity and backing are those of the last refresh. */
  async find(name: string, signal: AbortSignal): Promise<Volume | null> {
    return await this.#attempt(`look for the volume ${name}`, signal, async (pool) => {
      try {
        const { vol } = await this.#client.call("storageVolLookupByName", { pool, name }, { signal });
        const { xml } = await this.#client.call("storageVolGetXmlDesc", { vol }, { signal });
        return { ...readVolumeXml(xml), name, reference: vol };
      } catch (error) {
        if (LibvirtError.isCode(error, "NO_STORAGE_VOL")) return null;
        throw error;
      }
    });
  }

  /** The names of all volumes, as of the last refresh. */
  async names(signal: AbortSignal): Promise<string[]> {
    return await this.#attempt("list volumes", signal, async (pool) => {
      const { vols } = await this.#client.call("storagePoolListAllVolumes", { pool }, { signal });
      return vols.map(({ name }) => name);
    });
  }

  /** Bytes that the file system behind it had left at the last refresh. */
  async freeBytes(signal: AbortSignal): Promise<number> {
    return await this.#attempt("tell its free space", signal, async (pool) => {
      const { available } = await this.#client.call("storagePoolGetInfo", { pool }, { signal });
      return available;
    });
  }

  /** Null: there is one with that name. */
  async create(volume: NewVolume, signal: AbortSignal): Promise<Volume | null> {
    const xml = volumeXml(volume);
    const make = async (pool: StoragePoolReference) => {
      try {
        // Not given up with the signal: one that is carried out afterwards would make a volume that nobody removes.
        const { vol } = await this.#lock.shared(() => this.#client.call("storageVolCreateXml", { pool, xml }));
        signal.throwIfAborted();
        return vol;
      } catch (error) {
        if (!LibvirtError.isCode(error, "OPERATION_INVALID", "STORAGE_VOL_EXIST")) throw error;
        // Perhaps a file that libvirt has not seen yet, left by a daemon that was killed; or one that it does not know to be gone.
        await this.refresh(signal);
        if ((await this.find(volume.name, signal)) === null) throw error;
        return null;
      }
    };
    const again = (error: unknown) => mayPass(error) || LibvirtError.isCode(error, "STORAGE_VOL_EXIST");
    const reference = await this.#attempt(`make the volume ${volume.name}`, signal, make, again);
    return reference === null ? null : await this.find(volume.name, signal);
  }

  /** Does nothing where there is none. */
  async remove(name: string, signal: AbortSignal): Promise<void> {
    await this.#attempt(`remove the volume ${name}`, signal, async (pool) => {
      try {
        const { vol } = await this.#client.call("storageVolLookupByName", { pool, name }, { signal });
        await this.#client.call("storageVolDelete", { vol }, { signal });
      } catch (error) {
        if (!LibvirtError.isCode(error, "NO_STORAGE_VOL")) throw error;
      }
    });
  }

  async resize({ name, reference }: Volume, capacity: number, signal: AbortSignal): Promise<void> {
    await this.#attempt(`resize the volume ${name}`, signal, () =>
      this.#client.call("storageVolResize", { vol: reference, capacity }, { signal }),
    );
  }

  /** Bytes of the file from an offset, fewer than asked for where it is shorter. */
  async read({ name, reference }: Volume, length: number, caller: AbortSignal, offset = 0): Promise<Buffer> {
    const signal = AbortSignal.any([caller, AbortSignal.timeout(READ_TIMEOUT_MS)]);
    return await this.#attempt(`read the volume ${name}`, signal, async () => {
      const chunks: Uint8Array[] = [];
      await this.#download(reference, { offset, length }, (chunk) => void chunks.push(chunk), signal);
      return Buffer.concat(chunks).subarray(0, length);
    });
  }

  /** All bytes of the file in their order, at the pace of who takes them. Not tried again once it has begun. */
  async readAll({ name, reference }: Volume, take: (chunk: Uint8Array) => void, signal: AbortSignal): Promise<void> {
    const task = `read the volume ${name}`;
    await this.#attempt(
      task,
      signal,
      () => this.#download(reference, { offset: 0, length: 0 }, take, signal),
      () => false,
    );
  }

  async #download(
    vol: StorageVolumeReference,
    range: { offset: number; length: number },
    take: (chunk: Uint8Array) => void,
    signal: AbortSignal,
  ): Promise<void> {
    await using stream = await this.#client.openStream("storageVolDownload", { vol, ...range }, { signal });
    const onAbort = () => stream.abort();
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      for await (const chunk of stream) take(chunk);
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
    signal.throwIfAborted();
  }

  /** A stream that writes the file from its beginning, until the signal aborts. */
  async writer({ name, reference }: Volume, signal: AbortSignal): Promise<LibvirtStream> {
    const stream = await this.#attempt(`write the volume ${name}`, signal, () =>
      this.#client.openStream("storageVolUpload", { vol: reference, offset: 0, length: 0 }, { signal }),
    );
    signal.addEventListener("abort", () => stream.abort(), { once: true });
    return stream;
  }

  /** Makes a small volume with this content; what is there under its name is replaced. */
  async write(name: string, content: Buffer, signal: AbortSignal): Promise<Volume> {
    await this.remove(name, signal);
    const empty = { name, format: "raw", capacity: 0 } as const;
    let volume = await this.create(empty, signal);
    if (volume === null) {
      await this.remove(name, signal);
      volume = await this.create(empty, signal);
    }
    if (volume === null) throw new FleetError("UNAVAILABLE", `Somebody else makes the volume ${name} at the same time.`);
    try {
      await using stream = await this.writer(volume, signal);
      await stream.write(content);
      await stream.finish();
    } catch (error) {
      if (signal.aborted) throw FleetError.from(signal.reason);
      throw storageError(error, `write the volume ${name}`);
    }
    return volume;
  }

  /** Has libvirt look for files that came, went or changed without it, after this call began. Callers share. */
  async refresh(signal: AbortSignal): Promise<void> {
    if (this.#refresh === null || this.#refresh.begun) {
      const next = { begun: false, done: Promise.resolve() };
      next.done = this.#refreshAfter(this.#refresh?.done ?? Promise.resolve(), () => {
        next.begun = true;
      }).finally(() => {
        if (this.#refresh === next) this.#refresh = null;
      });
      next.done.catch(() => undefined);
      this.#refresh = next;
    }
    await waitAtMost(this.#refresh.done, Number.POSITIVE_INFINITY, signal, () => new Error("never"));
  }

  async #refreshAfter(before: Promise<void>, onBegin: () => void): Promise<void> {
    const signal = AbortSignal.timeout(REFRESH_TIMEOUT_MS);
    await before.catch(() => undefined);
    await pause(Math.max(0, this.#nextRefreshAt - performance.now()), signal);
    const work = (pool: StoragePoolReference) =>
      this.#lock.alone(async () => {
        onBegin();
        const begunAt = performance.now();
        await this.#client.call("storagePoolRefresh", { pool }, { signal });
        const now = performance.now();
        this.#nextRefreshAt = now + Math.min(Math.max(REFRESH_GAP_MS.least, (now - begunAt) * 2), REFRESH_GAP_MS.most);
      });
    // Another client may be making a volume, and a file that vanishes meanwhile makes libvirt stop the pool.
    await this.#attempt("read the pool", signal, work, (error) => error instanceof LibvirtError);
  }

  async #attempt<T>(
    task: string,
    signal: AbortSignal,
    work: (pool: StoragePoolReference) => Promise<T>,
    again: (error: unknown) => boolean = mayPass,
  ): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await work(await this.#pool(signal));
      } catch (error) {
        if (signal.aborted) throw FleetError.from(signal.reason);
        if (attempt === ATTEMPTS || !again(error)) throw storageError(error, `${task} in the pool ${this.#options.name}`);
        this.#reference = null;
      }
      await pause(Math.min(FIRST_PAUSE_MS * 2 ** attempt, LONGEST_PAUSE_MS), signal);
    }
  }

  /** Opened once for all who ask. */
  async #pool(signal: AbortSignal): Promise<StoragePoolReference> {
    signal.throwIfAborted();
    if (this.#reference === null) {
      const { log, name, open = () => openPool(this.#client, log, name, this.directory) } = this.#options;
      const opening = open();
      this.#reference = opening;
      opening.catch(() => {
        if (this.#reference === opening) this.#reference = null;
      });
    }
    return await waitAtMost(this.#reference, Number.POSITIVE_INFINITY, signal, () => new Error("never"));
  }
}
