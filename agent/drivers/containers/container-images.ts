import { FleetError, notFound } from "../../../platform/errors/fleet-error.ts";
import { InstanceType } from "../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { ImageFormat, type ImageSource, NodeImage, type NodeImageProgress } from "../../../schema/generated/proto/hypervisor/v1/images.ts";
import type { ImageDriver } from "../image-driver.ts";
import { invalid, precondition } from "../shared/refusals.ts";
import { isProbe } from "./container-mark.ts";
import { attempt, EngineRefusal } from "./engine-errors.ts";
import type { EngineHost } from "./engine-host.ts";
import type { ListedImage } from "./engine-types.ts";
import type { ImagePulls } from "./image-pulls.ts";
import { imageReference } from "./image-reference.ts";

/** More names than anybody reads. */
const MAX_NAMED = 20;

/** The images of a container engine: its own store is the truth, and it keeps others' images, too. */
export class ContainerImages implements ImageDriver {
  readonly #host: EngineHost;
  readonly #pulls: ImagePulls;

  constructor(host: EngineHost, pulls: ImagePulls) {
    this.#host = host;
    this.#pulls = pulls;
  }

  async listImages(signal: AbortSignal): Promise<NodeImage[]> {
    const [images, users] = await Promise.all([this.#listed(signal), this.#users(signal)]);
    return images.map((image) => nodeImage(image, users.has(idOf(image))));
  }

  async pullImage(
    { ref, checksum, format }: ImageSource,
    { refresh, onProgress }: { refresh: boolean; onProgress: (progress: NodeImageProgress) => void },
    signal: AbortSignal,
  ): Promise<NodeImage> {
    if (checksum !== "")
      throw invalid("ChecksumNotTaken", "checksum", "A container image is pinned by its name: write it as registry/path@sha256:….");
    if (format !== ImageFormat.UNSPECIFIED && format !== ImageFormat.OCI)
      throw invalid("FormatNotTaken", "format", "Container images have one format; leave it out.");
    const reference = imageReference(ref);
    const tell = ({ status, currentBytes, totalBytes }: { status: string; currentBytes: number; totalBytes: number | null }) =>
      onProgress({ status, currentBytes, totalBytes: totalBytes ?? 0, image: undefined });
    const { Id } = await (refresh ? this.#pulls.pull(reference, tell, signal) : this.#pulls.ensure(reference, tell, signal));
    const image = (await this.listImages(signal)).find(({ id }) => id === digest(Id));
    if (image === undefined)
      throw new FleetError("UNAVAILABLE", "The image was removed as soon as it was there.", { reason: "ImageVanished" });
    return image;
  }

  /** By a name only that name goes, while the image has others; by its id all of them. */
  async deleteImage(image: string, signal: AbortSignal): Promise<number> {
    const found = await this.#find(image, signal);
    const users = (await this.#users(signal)).get(idOf(found)) ?? [];
    const tags = named(found);
    const isById = digest(image) === idOf(found);
    const isLast = isById || tags.length <= 1;
    if (isLast && users.length > 0) throw inUse(image, users);
    for (const name of isById && tags.length > 0 ? tags : [isById ? found.Id : imageReference(image)])
      await this.#remove(name, users, signal);
    const isGone = (await this.#listed(signal)).every(({ Id }) => digest(Id) !== idOf(found));
    return isGone ? found.Size : 0;
  }

  async #remove(name: string, users: readonly string[], signal: AbortSignal): Promise<void> {
    try {
      await this.#host.engine.delete(`/images/${name}`, { signal, timeoutMs: 60_000 });
    } catch (error) {
      if (!(error instanceof EngineRefusal)) throw error;
      // Somebody was quicker; or a container was made of it meanwhile.
      if (error.status === 404) return;
      if (error.status === 409 || /in use|is using/i.test(error.message)) throw inUse(name, users);
      await attempt("remove the image", () => Promise.reject(error));
    }
  }

  async #find(image: string, signal: AbortSignal): Promise<ListedImage> {
    const images = await this.#listed(signal);
    const byId = images.find((one) => idOf(one) === digest(image));
    if (byId !== undefined) return byId;
    const reference = imageReference(image);
    const found = images.find((one) => [...named(one), ...(one.RepoDigests ?? [])].includes(reference));
    if (found === undefined) throw notFound("Image", image);
    return found;
  }

  /** Without the agent's own probe. */
  async #listed(signal: AbortSignal): Promise<ListedImage[]> {
    const images = await attempt("list its images", () => this.#host.engine.get<ListedImage[]>("/images/json", { signal }));
    return images.filter(({ Labels }) => !isProbe(Labels));
  }

  /** The names of the containers of each image. */
  async #users(signal: AbortSignal): Promise<Map<string, string[]>> {
    const users = new Map<string, string[]>();
    for (const { ImageID, Names } of await this.#host.listed(signal)) {
      const id = digest(ImageID ?? "");
      users.set(id, [...(users.get(id) ?? []), ...Names.map((name) => name.replace(/^\//, ""))]);
    }
    return users;
  }
}

function nodeImage(image: ListedImage, isInUse: boolean): NodeImage {
  return NodeImage.create({
    id: idOf(image),
    names: [...named(image), ...(image.RepoDigests ?? [])],
    type: InstanceType.CONTAINER,
    format: ImageFormat.OCI,
    sizeBytes: image.Size,
    createdAt: new Date(image.Created * 1000),
    inUse: isInUse,
  });
}

/** podman writes ids without the kind of digest. */
function digest(id: string): string {
  return /^[0-9a-f]{64}$/.test(id) ? `sha256:${id}` : id;
}

function idOf({ Id }: ListedImage): string {
  return digest(Id);
}

function named({ RepoTags }: ListedImage): string[] {
  return (RepoTags ?? []).filter((tag) => tag !== "<none>:<none>");
}

function inUse(image: string, users: readonly string[]): FleetError {
  const shown = users.slice(0, MAX_NAMED).join(", ");
  return precondition("ImageInUse", `The image ${image} is used by ${shown === "" ? "a container" : shown}: delete that first.`, {
    instanceIds: users.filter((name) => name.startsWith("inst-")).slice(0, MAX_NAMED),
    names: users.slice(0, MAX_NAMED),
  });
}
