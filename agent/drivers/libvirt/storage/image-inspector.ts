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

  /** What was found out while it was written. */
  remember(volume: Volume, facts: ImageFacts): void {
    this.#facts.set(keyOf(volume), facts);
  }

  /** Refuses as `imageFacts` does. `shown` is how messages call it, `declared` what its name says. */
  async facts(volume: Volume, shown: string, declared: ImageFormat | null, signal: AbortSignal): Promise<ImageFacts> {
    const { physicalBytes } = volume;
    const key = keyOf(volume);
    const known = this.#facts.get(key);
    if (known !== undefined) return known;
    const head = physicalBytes === 0 ? Buffer.alloc(0) : await this.#pool.read(volume, Math.min(HEAD_BYTES, physicalBytes), signal);
    const facts = imageFacts(shown, declared, head, physicalBytes);
    this.#facts.set(key, facts);
    return facts;
  }
}

/** Changes when the file does. */
function keyOf({ path, physicalBytes, modified }: Volume): string {
  return `${path}\0${physicalBytes}\0${modified}`;
}
