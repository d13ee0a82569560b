import { createHash } from "node:crypto";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import { InstanceType } from "../../../../schema/generated/proto/hypervisor/v1/compute.ts";
import {
  ImageFormat as Format,
  type ImageSource,
  NodeImage,
  NodeImageProgress,
} from "../../../../schema/generated/proto/hypervisor/v1/images.ts";
import type { ImageDriver } from "../../image-driver.ts";
import type { FetchProgress } from "../../shared/activity.ts";
import { invalid, precondition } from "../../shared/refusals.ts";
import { type Checksum, parseChecksum } from "./fetch/checksum.ts";
import type { ImageFetcher } from "./fetch/image-fetcher.ts";
import { withoutSecrets } from "./fetch/image-url.ts";
import type { FetchedImages, WholeImage } from "./fetched-images.ts";
import type { ImageFormat } from "./image-format.ts";
import { parseImageReference } from "./image-name.ts";
import { byDigest, isDigest } from "./image-record.ts";
import type { ImageStore } from "./image-store.ts";
import type { Users } from "./image-users.ts";
import type { ImageUses } from "./image-uses.ts";
import type { StoragePool, Volume } from "./storage-pool.ts";

export interface HostImagesOptions {
  pool: StoragePool;
  store: ImageStore;
  fetcher: ImageFetcher;
  fetched: FetchedImages;
  uses: ImageUses;
  users: (signal: AbortSignal) => Promise<Map<string, Users>>;
}

type Progress = (progress: NodeImageProgress) => void;

const FORMATS = { qcow2: Format.QCOW2, raw: Format.RAW } as const;

/** The images that VMs and microVMs of a host are made of: those that were fetched, and the files that somebody put into the image directory. */
export class HostImages implements ImageDriver {
  readonly #options: HostImagesOptions;

  constructor(options: HostImagesOptions) {
    this.#options = options;
  }

  async listImages(signal: AbortSignal): Promise<NodeImage[]> {
    const { pool, fetched, users } = this.#options;
    await pool.refresh(signal);
    const inUse = await users(signal);
    const images: NodeImage[] = [];
    for (const image of await fetched.all(signal)) images.push(await this.#describeFetched(image, inUse, signal));
    for (const file of await this.#filesByHand(signal)) {
      const image = await this.#describeFile(file, inUse, signal);
      if (image !== null) images.push(image);
    }
    return images;
  }

  /** FAILED_PRECONDITION with the reason for which an image is refused; INVALID_ARGUMENT for what no host could bring. */
  async pullImage(
    source: ImageSource,
    { refresh, onProgress }: { refresh: boolean; onProgress: Progress },
    signal: AbortSignal,
  ): Promise<NodeImage> {
    const { pool, fetcher, fetched } = this.#options;
    const wish = { checksum: parseChecksum(source.checksum), format: formatOf(source.format) };
    const reference = parseImageReference(source.ref, "image", pool.directory);
    if (reference.kind === "name") return await this.#pullFile(reference.name, source, wish, signal);
    const name = source.name === "" ? null : await this.#newName(source.name, signal);
    const url = fetcher.check(source.ref).href;
    if (name !== null && !refresh) {
      const known = await fetched.find(url, signal);
      await fetched.checkName(name, url, known?.record.sha256 ?? null, signal);
    }
    const kept = await fetcher.fetch(url, { wish, refresh }, (progress) => onProgress(told(progress)), signal);
    if (name !== null) await fetched.giveName(name, kept, refresh, signal);
    const image = (await fetched.all(signal)).find(({ sha256 }) => sha256 === kept.record.sha256);
    if (image === undefined) throw new FleetError("UNAVAILABLE", "The image was removed from the host as soon as it was there.");
    return await this.#describeFetched(image, await this.#options.users(signal), signal);
  }

  async deleteImage(image: string, signal: AbortSignal): Promise<number> {
    const { pool, fetched, uses } = this.#options;
    await pool.refresh(signal);
    const matching = (await fetched.all(signal)).filter((one) => namesOf(one).has(image) || one.references.includes(image));
    const [first, second] = matching;
    if (second !== undefined) {
      const ids = matching.map(({ sha256 }) => byDigest(sha256));
      throw precondition("ImageAmbiguous", `${JSON.stringify(image)} is more than one image of this host. Say which by its id.`, { ids });
    }
    if (first === undefined) return await this.#deleteFile(image, signal);
    const freed = await fetched.remove(first, (users) => this.#checkUnused(users, first.volumes), signal);
    uses.forget(first.sha256);
    return freed;
  }

  async #deleteFile(image: string, signal: AbortSignal): Promise<number> {
    const { pool, users } = this.#options;
    const file = (await this.#filesByHand(signal)).find((one) => one.name === image || idOf(one) === image);
    if (file === undefined || (await this.#describeFile(file, new Map(), signal)) === null) {
      throw new FleetError("NOT_FOUND", `There is no image ${JSON.stringify(image)} on this host.`, { reason: "ImageNotFound" });
    }
    this.#checkUnused(await users(signal), [file]);
    await pool.remove(file.name, signal);
    return file.physicalBytes;
  }

  #checkUnused(users: Map<string, Users>, volumes: readonly Volume[]): void {
    const found = volumes.map(({ path }) => users.get(path)).filter((one) => one !== undefined);
    const instanceIds = [...new Set(found.flatMap((one) => [...one.instanceIds]))].sort();
    const names = [...new Set(found.flatMap((one) => [...one.names]))].sort();
    const isHeld = volumes.some(({ path }) => this.#options.fetched.pins.has(path));
    if (instanceIds.length === 0 && names.length === 0 && !isHeld) return;
    const who =
      isHeld && instanceIds.length + names.length === 0 ? "an instance that is being made" : [...instanceIds, ...names].join(", ");
    throw precondition("ImageInUse", `The image is needed by ${who}.`, { instanceIds, names });
  }

  /** A file that lies in the image directory is there already, or it is not. */
  async #pullFile(
    name: string,
    source: ImageSource,
    { checksum, format }: { checksum: Checksum | null; format: ImageFormat | null },
    signal: AbortSignal,
  ): Promise<NodeImage> {
    const { store, users } = this.#options;
    const file = await store.find(name, "image", signal);
    if (source.name !== "" && source.name !== file.name) {
      throw invalid("ImageNameInvalid", "source.name", "A file of the image directory has its own name; it gets no other.");
    }
    const facts = await store.facts(file, signal);
    if (format !== null && format !== facts.format) {
      throw precondition(
        "ImageFormatMismatch",
        `The image ${JSON.stringify(file.name)} is declared as ${format}, and is ${facts.format}.`,
        {
          field: "source.format",
        },
      );
    }
    if (checksum !== null) await this.#checkFile(file, checksum, signal);
    const image = await this.#describeFile(file, await users(signal), signal);
    if (image === null) throw new FleetError("UNAVAILABLE", `The image ${file.name} was changed while it was looked at.`);
    return image;
  }

  async #checkFile(file: Volume, { algorithm, hex }: Checksum, signal: AbortSignal): Promise<void> {
    const hash = createHash(algorithm);
    await this.#options.pool.readAll(file, (chunk) => hash.update(chunk), signal);
    const actual = hash.digest("hex");
    if (actual === hex) return;
    throw precondition(
      "ImageChecksumMismatch",
      `The image ${JSON.stringify(file.name)} has the ${algorithm} checksum ${actual}, not ${hex}.`,
      {
        field: "source.checksum",
        checksum: `${algorithm}:${actual}`,
      },
    );
  }

  /** One that no file of the image directory has. */
  async #newName(text: string, signal: AbortSignal): Promise<string> {
    const { pool, store } = this.#options;
    const reference = parseImageReference(text, "image", pool.directory);
    if (reference.kind !== "name" || reference.name !== text || isDigest(text)) {
      throw invalid("ImageNameInvalid", "source.name", `${JSON.stringify(text)} cannot be an image's name.`);
    }
    const [file] = (await store.filesByHand(signal)).filter((one) => one === text || one.replace(/\.(qcow2|img|raw)$/, "") === text);
    if (file === undefined) return text;
    throw precondition("ImageNameTaken", `The host's image directory has a file ${file}, which has this name.`, { field: "source.name" });
  }

  async #filesByHand(signal: AbortSignal): Promise<Volume[]> {
    const { pool, store } = this.#options;
    const files: Volume[] = [];
    for (const name of await store.filesByHand(signal)) {
      const volume = await pool.find(name, signal);
      if (volume?.type === "file") files.push(volume);
    }
    return files;
  }

  async #describeFetched(image: WholeImage, inUse: Map<string, Users>, signal: AbortSignal): Promise<NodeImage> {
    const { sha256, record, volumes, fetchedAt } = image;
    return NodeImage.create({
      id: byDigest(sha256),
      names: [...namesOf(image)].filter((name) => !isDigest(name)).sort(),
      type: InstanceType.VM,
      format: FORMATS[record.format],
      sizeBytes: volumes.reduce((sum, { physicalBytes }) => sum + physicalBytes, 0),
      virtualSizeBytes: record.virtualSize,
      pulledAt: fetchedAt,
      lastUsedAt: (await this.#options.uses.last(sha256, signal)) ?? undefined,
      inUse: volumes.some(({ path }) => inUse.has(path) || this.#options.fetched.pins.has(path)),
      managed: true,
    });
  }

  /** Null: it is no image. */
  async #describeFile(file: Volume, inUse: Map<string, Users>, signal: AbortSignal): Promise<NodeImage | null> {
    try {
      const { format, virtualSize } = await this.#options.store.facts(file, signal);
      const modified = new Date(Number(file.modified) * 1000);
      return NodeImage.create({
        id: idOf(file),
        names: [file.name],
        type: InstanceType.VM,
        format: FORMATS[format],
        sizeBytes: file.physicalBytes,
        virtualSizeBytes: virtualSize,
        createdAt: Number.isNaN(modified.getTime()) ? undefined : modified,
        inUse: inUse.has(file.path) || this.#options.fetched.pins.has(file.path),
        managed: false,
      });
    } catch (error) {
      if (error instanceof FleetError && error.code === "FAILED_PRECONDITION") return null;
      throw error;
    }
  }
}

/** A file's content is not read for it: the same file on two hosts is two images, and one that is changed is another one. */
function idOf({ name, physicalBytes, modified }: Volume): string {
  const mark = createHash("sha256").update(`${name}\0${physicalBytes}\0${modified}`).digest("hex");
  return `file:${mark.slice(0, 32)}`;
}

/** What an instance may name it by, and messages show. */
function namesOf({ references }: WholeImage): Set<string> {
  return new Set(
    references.map((reference) => {
      if (isDigest(reference)) return reference;
      if (reference.startsWith("name:")) return reference.slice("name:".length);
      const url = URL.parse(reference);
      return url === null ? reference : withoutSecrets(url);
    }),
  );
}

/** Null: it is to be found out. */
function formatOf(format: Format): ImageFormat | null {
  if (format === Format.UNSPECIFIED) return null;
  if (format === Format.QCOW2) return "qcow2";
  if (format === Format.RAW) return "raw";
  throw invalid("ImageFormatInvalid", "source.format", "The image of a VM is qcow2 or raw.");
}

function told({ status, currentBytes, totalBytes }: FetchProgress): NodeImageProgress {
  return NodeImageProgress.create({ status, currentBytes, totalBytes: totalBytes ?? 0 });
}
