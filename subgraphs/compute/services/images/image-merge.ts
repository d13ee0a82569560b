import { InstanceType } from "../../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { type NodeImage, ImageFormat as ProtoFormat } from "../../../../schema/generated/proto/hypervisor/v1/images.ts";
import type { ImageFormat, ImageOnNode, ImageView } from "./image-types.ts";

/** What one node's agent said. */
export interface NodeImages {
  nodeId: string;
  images: readonly NodeImage[];
}

const FORMATS: Partial<Record<ProtoFormat, ImageFormat>> = {
  [ProtoFormat.QCOW2]: "QCOW2",
  [ProtoFormat.RAW]: "RAW",
  [ProtoFormat.OCI]: "OCI",
};

/** One entry for each id, whichever hosts have it, by name and then by id. Its names are those of all hosts together. */
export function mergeImages(answers: readonly NodeImages[]): ImageView[] {
  const byId = new Map<string, ImageView>();
  for (const { nodeId, images } of answers) {
    for (const image of images) {
      if (image.id === "") continue;
      const merged = byId.get(image.id);
      if (merged === undefined) byId.set(image.id, { ...toView(image), nodes: [onNode(nodeId, image)] });
      // An engine may tell an image once for each of its names.
      else if (merged.nodes.at(-1)?.nodeId === nodeId) addNames(merged, image);
      else add(merged, nodeId, image);
    }
  }
  const views = [...byId.values()];
  for (const view of views) {
    view.names.sort(compare);
    view.name = view.names[0] ?? view.id;
    view.nodes.sort((one, other) => compare(one.nodeId, other.nodeId));
  }
  return views.sort((one, other) => compare(one.name, other.name) || compare(one.id, other.id));
}

function toView(image: NodeImage): Omit<ImageView, "nodes"> {
  return {
    id: image.id,
    name: image.id,
    names: [...new Set(image.names)],
    type: image.type === InstanceType.CONTAINER ? "CONTAINER" : "VM",
    format: FORMATS[image.format] ?? null,
    architecture: image.architecture || null,
    sizeBytes: image.sizeBytes,
    virtualSizeBytes: image.virtualSizeBytes || null,
    createdAt: image.createdAt ?? null,
  };
}

function add(merged: ImageView, nodeId: string, image: NodeImage): void {
  addNames(merged, image);
  merged.sizeBytes = Math.max(merged.sizeBytes, image.sizeBytes);
  // The image is one: hosts that tell different times have written it at different times.
  if (image.createdAt && (merged.createdAt === null || image.createdAt < merged.createdAt)) merged.createdAt = image.createdAt;
  merged.nodes.push(onNode(nodeId, image));
}

function addNames(merged: ImageView, { names }: NodeImage): void {
  if (names.some((name) => !merged.names.includes(name))) merged.names = [...new Set([...merged.names, ...names])];
}

function onNode(nodeId: string, { sizeBytes, pulledAt, lastUsedAt, inUse, managed }: NodeImage): ImageOnNode {
  return { nodeId, sizeBytes, pulledAt: pulledAt ?? null, lastUsedAt: lastUsedAt ?? null, inUse, managed };
}

/** By code units, as cursors compare. */
function compare(one: string, other: string): number {
  if (one === other) return 0;
  return one < other ? -1 : 1;
}
