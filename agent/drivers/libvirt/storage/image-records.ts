import { LRUCache } from "lru-cache";
import { type FetchRecord, MAX_RECORD_BYTES, OWN_FILE, readRecord, recordFiles, writeRecord } from "./image-record.ts";
import type { StoragePool, Volume } from "./storage-pool.ts";

const CACHED = 1024;

/**
 * The records of fetched images: small files of the image pool, one per reference. A record that changes is written beside the old one,
 * which is removed afterwards: whenever the agent is killed, one of the two is whole.
 */
export class ImageRecords {
  readonly #pool: StoragePool;
  readonly #read = new LRUCache<string, FetchRecord>({ max: CACHED });

  constructor(pool: StoragePool) {
    this.#pool = pool;
  }

  /** Null: there is none. */
  async find(reference: string, signal: AbortSignal): Promise<FetchRecord | null> {
    return (await this.#slots(reference, signal)).record;
  }

  async put(record: Omit<FetchRecord, "sequence">, signal: AbortSignal): Promise<FetchRecord> {
    const { record: old, file: oldFile } = await this.#slots(record.reference, signal);
    const [first, second] = recordFiles(record.reference);
    const file = oldFile === first ? second : first;
    const next = { ...record, sequence: old === null ? 0 : old.sequence + 1 };
    await this.#pool.write(file, writeRecord(next), signal);
    const written = await this.#pool.find(file, signal);
    if (written !== null) this.#read.set(keyOf(written), next);
    if (oldFile !== null) await this.#pool.remove(oldFile, signal);
    return next;
  }

  async remove(reference: string, signal: AbortSignal): Promise<void> {
    for (const file of recordFiles(reference)) await this.#pool.remove(file, signal);
  }

  /** All that are whole, and the files of those that count no more or never did. `names` are the pool's. */
  async all(names: readonly string[], signal: AbortSignal): Promise<{ records: FetchRecord[]; useless: string[] }> {
    const best = new Map<string, { record: FetchRecord; name: string }>();
    const useless: string[] = [];
    for (const name of names) {
      if (!name.endsWith(".json") || !OWN_FILE.test(name)) continue;
      const record = await this.#readFile(name, signal);
      if (record === null || !recordFiles(record.reference).includes(name)) {
        useless.push(name);
        continue;
      }
      const other = best.get(record.reference);
      const loses = other !== undefined && other.record.sequence > record.sequence;
      if (other !== undefined) useless.push(loses ? name : other.name);
      if (!loses) best.set(record.reference, { record, name });
    }
    return { records: [...best.values()].map(({ record }) => record), useless };
  }

  async #slots(reference: string, signal: AbortSignal): Promise<{ record: FetchRecord | null; file: string | null }> {
    let found: { record: FetchRecord | null; file: string | null } = { record: null, file: null };
    for (const file of recordFiles(reference)) {
      const record = await this.#readFile(file, signal);
      if (record?.reference !== reference) continue;
      if (found.record === null || record.sequence > found.record.sequence) found = { record, file };
    }
    return found;
  }

  async #readFile(name: string, signal: AbortSignal): Promise<FetchRecord | null> {
    const volume = await this.#pool.find(name, signal);
    if (volume === null || volume.physicalBytes === 0 || volume.physicalBytes > MAX_RECORD_BYTES) return null;
    const known = this.#read.get(keyOf(volume));
    if (known !== undefined) return known;
    const record = readRecord(await this.#pool.read(volume, MAX_RECORD_BYTES, signal));
    if (record !== null) this.#read.set(keyOf(volume), record);
    return record;
  }
}

/** Changes when the file does. */
function keyOf({ path, physicalBytes, modified }: Volume): string {
  return `${path}\0${physicalBytes}\0${modified}`;
}
