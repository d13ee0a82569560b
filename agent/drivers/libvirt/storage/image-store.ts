import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { FetchProgress } from "../../shared/activity.ts";
import type { ImageFetcher } from "./fetch/image-fetcher.ts";
import { ANY_IMAGE } from "./fetch/image-wish.ts";
import type { FetchedImages } from "./fetched-images.ts";
import { declaredFormat, type ImageFacts } from "./image-format.ts";
import type { ImageInspector } from "./image-inspector.ts";
import { candidates, type ImageField, type ImageReference, isOwnName } from "./image-name.ts";
import { byName, isDigest } from "./image-record.ts";
import type { ImageUses } from "./image-uses.ts";
import type { StoragePool, Volume } from "./storage-pool.ts";

/** An image that was looked into and may be used. */
export interface StoredImage extends ImageFacts {
  path: string;
}

/** Nobody removes it until it is let go. */
export interface HeldImage extends StoredImage, Disposable {}

export interface ImageStoreOptions {
  pool: StoragePool;
  fetcher: ImageFetcher;
  fetched: FetchedImages;
  uses: ImageUses;
  inspector: ImageInspector;
}

const NAMES_SHOWN = 20;
/** One that is removed as soon as it was found is fetched again. */
const ATTEMPTS = 3;

/** The images of a host: files that its operator put into the image directory, and those that were fetched. */
export class ImageStore {
  readonly #options: ImageStoreOptions;
  readonly #pool: StoragePool;

  constructor(options: ImageStoreOptions) {
    this.#options = options;
    this.#pool = options.pool;
  }

  /** An image that stands alone and is whole, as far as its header tells. A URL is fetched where it is not here yet. */
  async image(reference: ImageReference, onProgress: (progress: FetchProgress) => void, signal: AbortSignal): Promise<HeldImage> {
    if (reference.kind === "url") return await this.#byUrl(reference.url, onProgress, signal);
    const { name } = reference;
    const byHand = isDigest(name) ? null : await this.#lookUp(name, signal);
    const fetched = byHand === null ? await this.#fetchedAs(isDigest(name) ? name : byName(name), signal) : null;
    if (fetched !== null) return fetched;
    const volume = byHand ?? (await this.find(name, "image", signal));
    const facts = await this.facts(volume, signal);
    const pin = this.#options.fetched.pins.hold(volume.path);
    return { ...facts, path: volume.path, [Symbol.dispose]: () => pin[Symbol.dispose]() };
  }

  /** What a file is that was put there by hand. Refuses as `imageFacts` does. */
  async facts(volume: Volume, signal: AbortSignal): Promise<ImageFacts> {
    const { name } = volume;
    return await this.#options.inspector.facts(volume, JSON.stringify(name), declaredFormat(name), signal);
  }

  /** The path of a kernel or an initial RAM disk. */
  async file(name: string, field: ImageField, signal: AbortSignal): Promise<string> {
    return (await this.find(name, field, signal)).path;
  }

  /** A file that was put there by hand. FAILED_PRECONDITION ImageNotFound. */
  async find(name: string, field: ImageField, signal: AbortSignal): Promise<Volume> {
    const known = await this.#lookUp(name, signal);
    if (known !== null) return known;
    await this.#pool.refresh(signal);
    const found = await this.#lookUp(name, signal);
    if (found !== null) return found;
    const shown = (await this.#known(field, signal)).sort();
    const more = shown.length > NAMES_SHOWN ? ` and ${shown.length - NAMES_SHOWN} more` : "";
    const available = shown.slice(0, NAMES_SHOWN);
    const there = shown.length === 0 ? "It is empty." : `There are: ${available.join(", ")}${more}.`;
    throw new FleetError("FAILED_PRECONDITION", `The host's image directory has no ${field} called ${JSON.stringify(name)}. ${there}`, {
      reason: "ImageNotFound",
      details: { field: `spec.${field}`, available },
    });
  }

  /** The files that were put there by hand. */
  async filesByHand(signal: AbortSignal): Promise<string[]> {
    return (await this.#pool.names(signal)).filter((there) => !isOwnName(there));
  }

  async #byUrl(url: string, onProgress: (progress: FetchProgress) => void, signal: AbortSignal): Promise<HeldImage> {
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      const { record } = await this.#options.fetcher.fetch(url, { wish: ANY_IMAGE, refresh: false }, onProgress, signal);
      const held = await this.#fetchedAs(record.reference, signal);
      if (held !== null) return held;
    }
    throw new FleetError("UNAVAILABLE", "The image is removed from the host as often as it is fetched.", { reason: "ImageRemoved" });
  }

  async #fetchedAs(reference: string, signal: AbortSignal): Promise<HeldImage | null> {
    const held = await this.#options.fetched.hold(reference, signal);
    if (held === null) return null;
    const { pin, record, volume } = held;
    try {
      // Once more: the file may have been changed since.
      const [facts] = await Promise.all([
        this.#options.inspector.facts(volume, "that was fetched", record.format, signal),
        this.#options.uses.note(record.sha256, new Date(), signal),
      ]);
      return { ...facts, path: volume.path, [Symbol.dispose]: () => pin[Symbol.dispose]() };
    } catch (error) {
      pin[Symbol.dispose]();
      throw error;
    }
  }

  async #known(field: ImageField, signal: AbortSignal): Promise<string[]> {
    const byHand = await this.filesByHand(signal);
    if (field !== "image") return byHand;
    const fetched = (await this.#options.fetched.all(signal)).flatMap(({ references }) => references);
    return [...byHand, ...fetched.filter((one) => one.startsWith("name:")).map((one) => one.slice("name:".length))];
  }

  async #lookUp(name: string, signal: AbortSignal): Promise<Volume | null> {
    for (const candidate of candidates(name)) {
      const volume = await this.#pool.find(candidate, signal);
      if (volume?.type === "file") return volume;
    }
    return null;
  }
}
