import type { ImageCredential, ImageSource, NodeImage, NodeImageProgress } from "../../schema/generated/proto/hypervisor/v1/images.ts";

/** The account for a registry or server (`host` or `host:port`); null: none is kept. Throws UNAVAILABLE while the control plane is away. */
export type FindCredential = (registry: string, signal: AbortSignal) => Promise<ImageCredential | null>;

/** The images that a driver's instances are made of. */
export interface ImageDriver {
  listImages(signal: AbortSignal): Promise<NodeImage[]>;
  /**
   * Brings an image, or finds that it is there. Several that want the same share one pull, which is given up when the last signal aborts.
   * `onProgress` is told at most twice a second.
   */
  pullImage(
    source: ImageSource,
    options: { refresh: boolean; onProgress: (progress: NodeImageProgress) => void },
    signal: AbortSignal,
  ): Promise<NodeImage>;
  /** FAILED_PRECONDITION ImageInUse, NOT_FOUND. Gives the bytes that were freed. */
  deleteImage(image: string, signal: AbortSignal): Promise<number>;
}
