import type { RequestContext } from "../../../platform/request-context.ts";
import {
  type ListImagesRequest,
  type ListImagesResponse,
  type Image as ProtoImage,
  InstanceType as ProtoType,
  type PullImageProgress,
  type PullImageRequest,
} from "../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { mapIterator } from "../../kit/graphql/async-iterators.ts";
import { inMessageFields } from "../../kit/grpc/field-names.ts";
import type { RawImageFilter, RawPull } from "../services/images/image-input.ts";
import type { ImagePulls } from "../services/images/image-pulls.ts";
import type { ImageView, UnavailableNode } from "../services/images/image-types.ts";
import type { ImagePullView } from "../services/images/pull-view.ts";
import { enumName } from "./instance-messages.ts";

export function imageFilterFromMessage({ type, nodeId, name }: ListImagesRequest): RawImageFilter {
  return { type: enumName(type), nodeId, name };
}

export function imagesToMessage(images: readonly ImageView[], unavailable: readonly UnavailableNode[]): ListImagesResponse {
  return { images: images.map(imageToMessage), unavailableNodeIds: [...new Set(unavailable.map(({ nodeId }) => nodeId))] };
}

function imageToMessage({ id, name, names, type, sizeBytes, createdAt, nodes }: ImageView): ProtoImage {
  return {
    id,
    name,
    tags: names,
    sizeBytes,
    type: ProtoType[type],
    createdAt: createdAt ?? undefined,
    nodeIds: nodes.map(({ nodeId }) => nodeId),
  };
}

/** Begins a pull and tells how it goes on, until its end. A caller that goes away leaves it as it is. */
export async function* pullOverGrpc(
  pulls: ImagePulls,
  ctx: RequestContext,
  request: PullImageRequest,
): AsyncGenerator<PullImageProgress, void> {
  try {
    const { id } = await pulls.pull(ctx, pullFromMessage(request));
    yield* mapIterator(await pulls.watch(ctx, id), pullToMessage);
  } catch (error) {
    throw inMessageFields(error);
  }
}

function pullFromMessage({ type, ...request }: PullImageRequest): RawPull {
  return { ...request, type: enumName(type) };
}

function pullToMessage({ id, status, currentBytes, totalBytes, completed, error }: ImagePullView): PullImageProgress {
  return {
    pullId: id,
    status: status.toLowerCase(),
    current: currentBytes,
    total: totalBytes ?? 0,
    completed,
    error: error === null ? "" : error.message,
  };
}
