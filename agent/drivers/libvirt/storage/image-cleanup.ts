import type { Logger } from "../../../../platform/observability/log.ts";
import type { FetchedImages, WholeImage } from "./fetched-images.ts";
import type { Users } from "./image-users.ts";
import type { ImageUses } from "./image-uses.ts";
import type { StoragePool } from "./storage-pool.ts";

export interface CleanupRules {
  /** Images that no instance has needed for so long are removed; 0: never for that. */
  retentionDays: number;
  /** As long as less than that is free, images that nobody needs are removed, those first that were not used for longest; 0: never for that. */
  minFreeBytes: number;
}

export interface CleanupOptions {
  pool: StoragePool;
  images: FetchedImages;
  uses: ImageUses;
  users: (signal: AbortSignal) => Promise<Map<string, Users>>;
  rules: CleanupRules;
  log: Logger;
}

export const CLEANUP_RULES: CleanupRules = { retentionDays: 30, minFreeBytes: 0 };

const DAY_MS = 86_400_000;
/** One that was just fetched is about to be used. */
const LEAST_AGE_MS = 3_600_000;

interface Unused {
  image: WholeImage;
  since: Date;
}

/** Removes fetched images that nobody needs, by age and by space. Files that were put into the image directory by hand are nobody's to remove. */
export class ImageCleanup {
  readonly #options: CleanupOptions;

  constructor(options: CleanupOptions) {
    this.#options = options;
  }

  async run(now: Date, signal: AbortSignal): Promise<void> {
    const { pool, rules } = this.#options;
    if (rules.retentionDays === 0 && rules.minFreeBytes === 0) return;
    await pool.refresh(signal);
    const unused = await this.#unused(now, signal);
    const ageLimit = rules.retentionDays === 0 ? Number.POSITIVE_INFINITY : rules.retentionDays * DAY_MS;
    let missing = rules.minFreeBytes - (await pool.freeBytes(signal));
    for (const { image, since } of unused.toSorted((a, b) => a.since.getTime() - b.since.getTime())) {
      const age = now.getTime() - since.getTime();
      if (age < ageLimit && (missing <= 0 || age < LEAST_AGE_MS)) continue;
      missing -= await this.#remove(image, since, signal);
    }
  }

  /** Those that are in use count as used now, so that their time begins when the last instance is gone. */
  async #unused(now: Date, signal: AbortSignal): Promise<Unused[]> {
    const { images, uses, users } = this.#options;
    const inUse = await users(signal);
    const unused: Unused[] = [];
    for (const image of await images.all(signal)) {
      const last = await uses.last(image.sha256, signal);
      if (image.volumes.some(({ path }) => inUse.has(path) || images.pins.has(path))) {
        if (last === null || now.getTime() - last.getTime() > DAY_MS) await uses.note(image.sha256, now, signal);
      } else {
        const since = Math.max(last?.getTime() ?? 0, Date.parse(image.record.fetchedAt));
        unused.push({ image, since: new Date(since) });
      }
    }
    return unused;
  }

  /** Gives the bytes that were freed; 0 where somebody uses it by now. */
  async #remove(image: WholeImage, since: Date, signal: AbortSignal): Promise<number> {
    const { images, uses, log } = this.#options;
    let isUsed = false;
    const check = (users: Map<string, Users>) => {
      isUsed = image.volumes.some(({ path }) => users.has(path) || images.pins.has(path));
      if (isUsed) throw new StillUsed();
    };
    try {
      const freed = await images.remove(image, check, signal);
      uses.forget(image.sha256);
      log.info({ sha256: image.sha256, references: image.references.length, unusedSince: since, bytes: freed }, "removed an unused image");
      return freed;
    } catch (error) {
      if (error instanceof StillUsed) return 0;
      throw error;
    }
  }
}

class StillUsed extends Error {}
