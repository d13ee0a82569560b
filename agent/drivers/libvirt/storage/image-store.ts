import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { ImageFetcher } from "./image-fetcher.ts";
import { declaredFormat, type ImageFacts } from "./image-format.ts";
import type { ImageInspector } from "./image-inspector.ts";
import { candidates, type ImageField, type ImageReference, isOwnName } from "./image-name.ts";
import type { StoragePool, Volume } from "./storage-pool.ts";

/** An image that was looked into and may be used. */
export interface StoredImage extends ImageFacts {
  path: string;
}

const NAMES_SHOWN = 20;

/** The images of a host: files that its operator put into the image directory, and those that were fetched by URL. */
export class ImageStore {
  readonly #pool: StoragePool;
  readonly #fetcher: ImageFetcher;
  readonly #inspector: ImageInspector;

  constructor(pool: StoragePool, fetcher: ImageFetcher, inspector: ImageInspector) {
    this.#pool = pool;
    this.#fetcher = fetcher;
    this.#inspector = inspector;
  }

  /** An image that stands alone and is whole, as far as its header tells. A URL is fetched where it is not here yet. */
  async image(reference: ImageReference, onActivity: (activity: string) => void, signal: AbortSignal): Promise<StoredImage> {
    if (reference.kind === "url") {
      const volume = await this.#fetcher.fetch(reference.url, onActivity, signal);
      return { ...(await this.#inspector.facts(volume, "at that URL", null, signal)), path: volume.path };
    }
    const volume = await this.#find(reference.name, "image", signal);
    const { name, path } = volume;
    return { ...(await this.#inspector.facts(volume, JSON.stringify(name), declaredFormat(name), signal)), path };
  }

  /** The path of a kernel or an initial RAM disk. */
  async file(name: string, field: ImageField, signal: AbortSignal): Promise<string> {
    return (await this.#find(name, field, signal)).path;
  }

  async #find(name: string, field: ImageField, signal: AbortSignal): Promise<Volume> {
    const known = await this.#lookUp(name, signal);
    if (known !== null) return known;
    await this.#pool.refresh(signal);
    const found = await this.#lookUp(name, signal);
    if (found !== null) return found;
    const names = (await this.#pool.names(signal)).filter((there) => !isOwnName(there)).sort();
    const shown = names.slice(0, NAMES_SHOWN);
    const more = names.length > shown.length ? ` and ${names.length - shown.length} more` : "";
    const there = shown.length === 0 ? "It is empty." : `There are: ${shown.join(", ")}${more}.`;
    throw new FleetError("FAILED_PRECONDITION", `The host's image directory has no ${field} called ${JSON.stringify(name)}. ${there}`, {
      reason: "ImageNotFound",
      details: { field: `spec.${field}`, available: shown },
    });
  }

  async #lookUp(name: string, signal: AbortSignal): Promise<Volume | null> {
    for (const candidate of candidates(name)) {
      const volume = await this.#pool.find(candidate, signal);
      if (volume?.type === "file") return volume;
    }
    return null;
  }
}
