import { randomBytes } from "node:crypto";
import type { Logger } from "../../../../platform/observability/log.ts";
import { precondition } from "../../shared/refusals.ts";
import { ImagePins } from "./image-pins.ts";
import { byDigest, byName, type FetchRecord, hashOf, isDigest, usedFile } from "./image-record.ts";
import { ImageRecords } from "./image-records.ts";
import type { Users } from "./image-users.ts";
import { removeLeftovers } from "./leftovers.ts";
import { SharedLock } from "./shared-lock.ts";
import type { StoragePool, Volume } from "./storage-pool.ts";

/** An image under one of its references. */
export interface KeptImage {
  record: FetchRecord;
  volume: Volume;
}

/** An image under all of them. */
export interface WholeImage {
  /** Of the file as it is kept: what it is known by, whatever it came from. */
  sha256: string;
  /** The newest. */
  record: FetchRecord;
  /** More than one where images of earlier days were found to be the same. */
  volumes: Volume[];
  references: string[];
  fetchedAt: Date;
}

/** What was stored of the image of a URL. */
export interface NewImage extends Omit<FetchRecord, "reference" | "volume" | "sequence" | "fetchedAt" | "source"> {
  url: string;
  volume: string;
}

export interface FetchedImagesOptions {
  pool: StoragePool;
  log: Logger;
  users: (signal: AbortSignal) => Promise<Map<string, Users>>;
}

/**
 * The images in the image pool that were fetched. Each is known by its digest, and found by what it was fetched by: URLs, and names that it
 * was given. Several references lead to one volume, `url-<hash>-<random>.img`; each has a record (`url-<hash>.json`), written after the volume
 * is whole, so that whatever a killed agent left behind is known by having no record. A name of a volume is never used twice: nothing is ever
 * written over, and a reference that moves on leaves the volume to the disks that stand on it.
 */
export class FetchedImages {
  readonly pins = new ImagePins();
  readonly #options: FetchedImagesOptions;
  readonly #pool: StoragePool;
  readonly #records: ImageRecords;
  readonly #underWay = new Set<string>();
  /** Alone: whoever changes records or removes volumes. */
  readonly #lock = new SharedLock();

  constructor(options: FetchedImagesOptions) {
    this.#options = options;
    this.#pool = options.pool;
    this.#records = new ImageRecords(options.pool);
  }

  /** The whole image of a URL, "name:<name>" or "sha256:<hex>"; null where it was never fetched, or not to its end. */
  async find(reference: string, signal: AbortSignal): Promise<KeptImage | null> {
    return await this.#whole(await this.#records.find(reference, signal), signal);
  }

  /** As `find`, and keeps it from being removed until it is let go. */
  async hold(reference: string, signal: AbortSignal): Promise<(KeptImage & { pin: Disposable }) | null> {
    return await this.#lock.shared(async () => {
      const found = await this.find(reference, signal);
      return found === null ? null : { ...found, pin: this.pins.hold(found.volume.path) };
    });
  }

  /** The name of a volume to fetch into; nobody removes it as a leftover until `done`. */
  begin(url: string): string {
    const name = `url-${hashOf(url)}-${randomBytes(4).toString("hex")}.img`;
    this.#underWay.add(name);
    return name;
  }

  done(name: string): void {
    this.#underWay.delete(name);
  }

  /** Makes a stored volume the image of its URL. Where the same image is here already, that one is used and the volume removed. */
  async complete({ url, ...image }: NewImage, signal: AbortSignal): Promise<KeptImage> {
    return await this.#lock.alone(async () => {
      const digest = byDigest(image.sha256);
      const same = await this.find(digest, signal);
      const fetchedAt = new Date().toISOString();
      const base = { ...image, volume: same?.record.volume ?? image.volume, fetchedAt, source: null };
      // Each of the two makes it whole; the one that a killed agent did not write is written at the next start, or with the next fetch.
      const [record] = await Promise.all([
        this.#records.put({ ...base, reference: url }, signal),
        same === null && this.#records.put({ ...base, reference: digest, served: null, validator: null }, signal),
      ]);
      if (same !== null && same.record.volume !== image.volume) await this.#pool.remove(image.volume, signal);
      const kept = await this.#whole(record, signal);
      if (kept !== null) return kept;
      throw precondition("StorageFailed", "The image vanished from the image directory as soon as it was there.");
    });
  }

  /** FAILED_PRECONDITION ImageNameTaken where the name leads to another image. */
  async checkName(name: string, url: string, sha256: string | null, signal: AbortSignal): Promise<void> {
    const known = await this.find(byName(name), signal);
    if (known === null || known.record.sha256 === sha256 || (sha256 === null && known.record.source === url)) return;
    const message = `The name ${JSON.stringify(name)} is another image's on this host. Ask for a refresh to have it lead to this one; disks that stand on the other keep it.`;
    throw precondition("ImageNameTaken", message, { field: "source.name", image: byDigest(known.record.sha256) });
  }

  /** Has a name lead to an image. `move`: also where it led to another one. */
  async giveName(name: string, kept: KeptImage, move: boolean, signal: AbortSignal): Promise<void> {
    await this.#lock.alone(async () => {
      const { reference: url, sha256 } = kept.record;
      if (!move) await this.checkName(name, url, sha256, signal);
      const known = await this.find(byName(name), signal);
      if (known?.record.sha256 === sha256 && known.record.source === url) return;
      await this.#records.put({ ...kept.record, reference: byName(name), source: url }, signal);
    });
  }

  /** As of the pool's last refresh. */
  async all(signal: AbortSignal): Promise<WholeImage[]> {
    const { records } = await this.#records.all(await this.#pool.names(signal), signal);
    const images: WholeImage[] = [];
    for (const [sha256, group] of Map.groupBy(records, (record) => record.sha256)) {
      const volumes = new Map<string, Volume>();
      for (const record of group) {
        const kept = await this.#whole(record, signal);
        if (kept !== null) volumes.set(kept.volume.name, kept.volume);
      }
      if (volumes.size === 0) continue;
      const times = group.map(({ fetchedAt }) => Date.parse(fetchedAt));
      const [record] = group.toSorted((a, b) => b.fetchedAt.localeCompare(a.fetchedAt));
      if (record === undefined) continue;
      const references = group.map(({ reference }) => reference).sort();
      images.push({ sha256, record, volumes: [...volumes.values()], references, fetchedAt: new Date(Math.min(...times)) });
    }
    return images;
  }

  /**
   * Removes an image, where `check` (who uses which paths) does not throw. A kill in the middle leaves it with fewer references, or as what is
   * removed at the next start. Gives the bytes that were freed.
   */
  async remove(image: WholeImage, check: (users: Map<string, Users>) => void, signal: AbortSignal): Promise<number> {
    return await this.#lock.alone(async () => {
      check(await this.#options.users(signal));
      // By its digest it is found to the last.
      for (const reference of image.references.toSorted((a, b) => Number(isDigest(a)) - Number(isDigest(b)))) {
        await this.#records.remove(reference, signal);
      }
      await this.#pool.remove(usedFile(image.sha256), signal);
      let freed = 0;
      for (const { name, physicalBytes } of image.volumes) {
        await this.#pool.remove(name, signal);
        freed += physicalBytes;
      }
      return freed;
    });
  }

  /** Removes what is left of fetches that did not come to their end, and brings records of earlier days up to date. */
  async clear(signal: AbortSignal): Promise<void> {
    await this.#lock.alone(async () => {
      await this.#pool.refresh(signal);
      await removeLeftovers({
        pool: this.#pool,
        log: this.#options.log,
        records: this.#records,
        isWhole: async (record) => (await this.#whole(record, signal)) !== null,
        isNeeded: async (path) => this.pins.has(path) || (await this.#options.users(signal)).has(path),
        isUnderWay: (name) => this.#underWay.has(name),
        signal,
      });
    });
  }

  async #whole(record: FetchRecord | null, signal: AbortSignal): Promise<KeptImage | null> {
    if (record === null) return null;
    const volume = await this.#pool.find(record.volume, signal);
    return volume?.physicalBytes === record.size ? { record, volume } : null;
  }
}
