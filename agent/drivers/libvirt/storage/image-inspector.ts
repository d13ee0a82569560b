import { LRUCache } from "lru-cache";
import { HEAD_BYTES, type ImageFacts, type ImageFormat, imageFacts } from "./image-format.ts";
import type { StoragePool, Volume } from "./storage-pool.ts";

const CACHED = 256;

/** Looks into images before they are used; once, as long as their file stays as it is. */
export class ImageInspector {
  readonly #pool: StoragePool;
  readonly #facts = new LRUCache<string, ImageFacts>({ max: CACHED });

  constructor(pool: StoragePool) {
    this.#pool = pool;
  }

  /** Refuses as `imageFacts` does. `shown` is how messages call it, `declared` what its name says. */
  async facts(volume: Volume, shown: string, declared: ImageFormat | null, signal: AbortSignal): Promise<ImageFacts> {
    const { path, physicalBytes, modified } = volume;
    const key = `${path}\0${physicalBytes}\0${modified}`;
    const known = this.#facts.get(key);
    if (known !== undefined) return known;
    const head = physicalBytes === 0 ? Buffer.alloc(0) : await this.#pool.read(volume, Math.min(HEAD_BYTES, physicalBytes), signal);
    const facts = imageFacts(shown, declared, head, physicalBytes);
    this.#facts.set(key, facts);
    return facts;
  }
}
