import { FleetError } from "../../platform/errors/fleet-error.ts";
import { type GrpcService, grpcService } from "../../platform/grpc/server.ts";
import { InstanceType } from "../../schema/generated/proto/hypervisor/v1/compute.ts";
import {
  type DeleteNodeImageRequest,
  ImageAgentServiceDefinition,
  type ListNodeImagesRequest,
  NodeImage,
  NodeImageProgress,
  type PullNodeImageRequest,
} from "../../schema/generated/proto/hypervisor/v1/images.ts";

interface Followed {
  request: PullNodeImageRequest;
  tell(progress: NodeImageProgress): void;
  end(error: FleetError | null): void;
}

/**
 * The images of a recorded agent: it really serves ImageAgentService, from a table. A pull stands still until the test tells how it goes on;
 * `onPull` does so at once. What nobody follows any more is given up, as real agents do.
 */
export class RecordedImages {
  readonly images = new Map<string, NodeImage>();
  readonly listed: ListNodeImagesRequest[] = [];
  readonly pulled: PullNodeImageRequest[] = [];
  readonly deleted: DeleteNodeImageRequest[] = [];
  /** Of drivers that could not be asked. */
  unavailable: string[] = [];
  /** Pulls that were given up. */
  givenUp = 0;
  onPull: ((request: PullNodeImageRequest) => void) | null = null;
  onList: (() => Promise<void>) | null = null;
  readonly #open = new Set<Followed>();

  /** How many are followed now. */
  get pulling(): number {
    return this.#open.size;
  }

  add(image: Partial<NodeImage> & { id: string }): void {
    this.images.set(image.id, NodeImage.fromPartial({ type: InstanceType.CONTAINER, sizeBytes: 1_000, ...image }));
  }

  /** To all who follow a pull. */
  progress(status: string, currentBytes: number, totalBytes: number): void {
    for (const { tell } of this.#open) tell(NodeImageProgress.create({ status, currentBytes, totalBytes }));
  }

  /** Ends all pulls: the image is there. */
  finish(sizeBytes = 1_000): void {
    for (const { request, tell, end } of [...this.#open]) {
      const ref = request.source?.ref ?? "";
      this.add({ id: `sha256:${Buffer.from(ref).toString("hex").padEnd(64, "0").slice(-64)}`, names: [ref], sizeBytes });
      const image = [...this.images.values()].at(-1);
      tell(NodeImageProgress.create({ status: "done", currentBytes: sizeBytes, totalBytes: sizeBytes, image }));
      end(null);
    }
  }

  /** Ends all pulls; without an error as an agent that is stopped does. */
  fail(error: FleetError | null): void {
    for (const { end } of [...this.#open]) end(error);
  }

  service(): GrpcService {
    return grpcService(ImageAgentServiceDefinition, {
      listNodeImages: async (request) => {
        this.listed.push(request);
        await this.onList?.();
        const wanted = ({ type }: NodeImage) => request.type === InstanceType.UNSPECIFIED || type === request.type;
        return { images: [...this.images.values()].filter(wanted), unavailable: this.unavailable };
      },
      pullNodeImage: (request, { fleet }) => this.#pull(request, fleet.signal),
      deleteNodeImage: async (request) => {
        this.deleted.push(request);
        const found = [...this.images.values()].find(({ id, names }) => id === request.image || names.includes(request.image));
        if (!found) throw new FleetError("NOT_FOUND", "The image is not there.");
        if (found.inUse) {
          throw new FleetError("FAILED_PRECONDITION", "Instances need the image.", {
            reason: "ImageInUse",
            details: { instanceIds: ["inst-1"] },
          });
        }
        this.images.delete(found.id);
        return { freedBytes: found.sizeBytes };
      },
    });
  }

  async *#pull(request: PullNodeImageRequest, signal: AbortSignal): AsyncGenerator<NodeImageProgress, void> {
    const frames: NodeImageProgress[] = [];
    let over: { error: FleetError | null } | null = null;
    let wake = Promise.withResolvers<void>();
    const followed: Followed = {
      request,
      tell: (progress) => {
        frames.push(progress);
        wake.resolve();
      },
      end: (error) => {
        over ??= { error };
        this.#open.delete(followed);
        wake.resolve();
      },
    };
    signal.addEventListener("abort", () => wake.resolve(), { once: true });
    this.#open.add(followed);
    this.pulled.push(request);
    this.onPull?.(request);
    const error = () => over?.error ?? null;
    try {
      while (!signal.aborted) {
        yield* frames.splice(0);
        if (over !== null && frames.length === 0) {
          if (error() !== null) throw error();
          return;
        }
        await wake.promise;
        wake = Promise.withResolvers();
      }
    } finally {
      if (this.#open.delete(followed)) this.givenUp += 1;
    }
  }
}
