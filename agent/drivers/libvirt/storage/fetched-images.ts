import { createHash, randomBytes } from "node:crypto";
import { LRUCache } from "lru-cache";
import { z } from "zod";
import type { Logger } from "../../../../platform/observability/log.ts";
import type { StoragePool, Volume } from "./storage-pool.ts";

const recordSchema = z.object({
  url: z.string(),
  volume: z.string(),
  size: z.number().int().positive(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  format: z.enum(["qcow2", "raw"]),
  virtualSize: z.number().int().positive(),
  fetchedAt: z.iso.datetime(),
});

/** What is known of an image that was fetched. Its volume is whole if and only if there is a record of it. */
export type FetchRecord = z.infer<typeof recordSchema>;

const OWN_VOLUME = /^url-([0-9a-f]{32})(?:-[0-9a-f]{8}\.img|\.json)$/;
const MAX_RECORD_BYTES = 16_384;
const CACHED = 256;

/**
 * Images by URL in the image pool. The image is `url-<hash>-<random>.img`; its record `url-<hash>.json` is written last and names it, so that
 * whatever a killed agent left behind is known by having no record. A name is never used twice: nothing is ever written over.
 */
export class FetchedImages {
  readonly #pool: StoragePool;
  readonly #log: Logger;
  /** Whether a disk of an instance stands on this image. */
  readonly #inUse: (path: string, signal: AbortSignal) => Promise<boolean>;
  readonly #underWay = new Set<string>();
  readonly #records = new LRUCache<string, FetchRecord>({ max: CACHED });

  constructor(pool: StoragePool, log: Logger, inUse: (path: string, signal: AbortSignal) => Promise<boolean>) {
    this.#pool = pool;
    this.#log = log;
    this.#inUse = inUse;
  }

  /** The whole image of a URL; null where it was never fetched, or not to its end. */
  async find(url: string, signal: AbortSignal): Promise<Volume | null> {
    const record = await this.#record(hashOf(url), signal);
    if (record?.url !== url) return null;
    const volume = await this.#pool.find(record.volume, signal);
    return volume?.physicalBytes === record.size ? volume : null;
  }

  /** The name of a volume to fetch into; `clear` and `clearAll` leave it alone until `done`. */
  begin(url: string): string {
    const name = `url-${hashOf(url)}-${randomBytes(4).toString("hex")}.img`;
    this.#underWay.add(name);
    return name;
  }

  done(name: string): void {
    this.#underWay.delete(name);
  }

  async complete(record: FetchRecord, signal: AbortSignal): Promise<void> {
    const name = recordName(hashOf(record.url));
    await this.#pool.write(name, Buffer.from(`${JSON.stringify(record, undefined, 2)}\n`), signal);
    const written = await this.#pool.find(name, signal);
    if (written !== null) this.#records.set(keyOf(written), record);
  }

  /** Removes the record of this URL, and what is left of fetches that did not come to their end. */
  async clear(url: string, signal: AbortSignal): Promise<void> {
    const hash = hashOf(url);
    await this.#pool.refresh(signal);
    await this.#pool.remove(recordName(hash), signal);
    await this.#removeUnused(await this.#ownVolumes(hash, signal), signal);
  }

  /** Removes what is left of unfinished fetches of all URLs. Looks only at those that have no record or several images. */
  async clearAll(signal: AbortSignal): Promise<void> {
    await this.#pool.refresh(signal);
    const byHash = Map.groupBy(await this.#ownVolumes(null, signal), (name) => OWN_VOLUME.exec(name)?.[1] ?? "");
    for (const [hash, names] of byHash) {
      const images = names.filter((name) => name.endsWith(".img"));
      if (images.length === 1 && names.includes(recordName(hash))) continue;
      const record = await this.#record(hash, signal);
      const whole = record !== null && images.includes(record.volume) ? [record.volume, recordName(hash)] : [];
      const left = names.filter((name) => !whole.includes(name));
      await this.#removeUnused(left, signal);
    }
  }

  async #removeUnused(names: readonly string[], signal: AbortSignal): Promise<void> {
    for (const name of names) {
      if (this.#underWay.has(name)) continue;
      const volume = await this.#pool.find(name, signal);
      if (volume === null) continue;
      if (await this.#inUse(volume.path, signal)) {
        this.#log.warn({ volume: name }, "an image has lost its record; it is kept, because instances stand on it");
        continue;
      }
      await this.#pool.remove(name, signal);
      this.#log.info({ volume: name, bytes: volume.physicalBytes }, "removed what an unfinished fetch had left");
    }
  }

  async #ownVolumes(hash: string | null, signal: AbortSignal): Promise<string[]> {
    return (await this.#pool.names(signal)).filter((name) => {
      const own = OWN_VOLUME.exec(name);
      return own !== null && (hash === null || own[1] === hash);
    });
  }

  async #record(hash: string, signal: AbortSignal): Promise<FetchRecord | null> {
    const volume = await this.#pool.find(recordName(hash), signal);
    if (volume === null || volume.physicalBytes === 0 || volume.physicalBytes > MAX_RECORD_BYTES) return null;
    const known = this.#records.get(keyOf(volume));
    if (known !== undefined) return known;
    const record = parse(await this.#pool.read(volume, MAX_RECORD_BYTES, signal));
    if (record !== null) this.#records.set(keyOf(volume), record);
    return record;
  }
}

/** Names volumes by URL: a URL may be longer than a file name, and hold a secret. */
function hashOf(url: string): string {
  return createHash("sha256").update(url).digest("hex").slice(0, 32);
}

/** Changes when the file does. */
function keyOf({ path, physicalBytes, modified }: Volume): string {
  return `${path}\0${physicalBytes}\0${modified}`;
}

function recordName(hash: string): string {
  return `url-${hash}.json`;
}

/** Null for one that was not written to its end. */
function parse(content: Buffer): FetchRecord | null {
  try {
    return recordSchema.parse(JSON.parse(content.toString("utf8")));
  } catch {
    return null;
  }
}
