import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { LRUCache } from "lru-cache";
import type { BootFile } from "./description.ts";

const MAX_CACHED = 100;

/** Digests of kernels and initial RAM disks, read once as long as the file does not change. */
export class FileDigests {
  readonly #known = new LRUCache<string, string>({ max: MAX_CACHED });

  /** Null where there is no such file. */
  async of(path: string, signal: AbortSignal): Promise<BootFile | null> {
    const facts = await stat(path).catch(() => null);
    if (facts === null || !facts.isFile()) return null;
    const key = JSON.stringify([path, facts.ino, facts.size, facts.mtimeMs]);
    let sha256 = this.#known.get(key);
    if (sha256 === undefined) {
      const hash = createHash("sha256");
      await pipeline(createReadStream(path), hash, { signal });
      sha256 = hash.digest("hex");
      this.#known.set(key, sha256);
    }
    return { path, bytes: facts.size, sha256 };
  }
}
