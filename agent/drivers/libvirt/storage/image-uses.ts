import type { Logger } from "../../../../platform/observability/log.ts";
import { usedFile } from "./image-record.ts";
import type { StoragePool } from "./storage-pool.ts";

/** Two uses within this time are noted as one. */
const ACCURACY_MS = 60_000;
const MAX_BYTES = 64;

/** When images were used last: kept beside them, so that it is known after the agent's end. */
export class ImageUses {
  readonly #pool: StoragePool;
  readonly #log: Logger;
  readonly #noted = new Map<string, Date>();

  constructor(pool: StoragePool, log: Logger) {
    this.#pool = pool;
    this.#log = log;
  }

  /** Never throws: an instance does not fail for it. */
  async note(sha256: string, now: Date, signal: AbortSignal): Promise<void> {
    const before = this.#noted.get(sha256);
    if (before !== undefined && Math.abs(now.getTime() - before.getTime()) < ACCURACY_MS) return;
    this.#noted.set(sha256, now);
    try {
      await this.#pool.write(usedFile(sha256), Buffer.from(`${now.toISOString()}\n`), signal);
    } catch (error) {
      this.#noted.delete(sha256);
      if (!signal.aborted) this.#log.warn({ err: error, sha256 }, "the use of an image is not noted");
    }
  }

  /** Null: it never was, or nobody noted it. */
  async last(sha256: string, signal: AbortSignal): Promise<Date | null> {
    const noted = this.#noted.get(sha256);
    if (noted !== undefined) return noted;
    const file = await this.#pool.find(usedFile(sha256), signal);
    if (file === null || file.physicalBytes === 0 || file.physicalBytes > MAX_BYTES) return null;
    const time = new Date((await this.#pool.read(file, MAX_BYTES, signal)).toString("utf8").trim());
    if (Number.isNaN(time.getTime())) return null;
    this.#noted.set(sha256, time);
    return time;
  }

  /** The image is gone. */
  forget(sha256: string): void {
    this.#noted.delete(sha256);
  }
}
