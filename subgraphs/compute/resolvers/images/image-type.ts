import { Field, ID, Int, ObjectType, registerEnumType } from "type-graphql";
import { unavailableReason } from "../../../kit/agents/node-record.ts";
import { type Edge, edgeType } from "../../../kit/graphql/connection.ts";
import { enumOf } from "../../../kit/graphql/enum-of.ts";
import { DateTime, Int64 } from "../../../kit/graphql/scalars.ts";
import { PageInfo } from "../../../kit/graphql/shared-types.ts";
import type { ImageList } from "../../services/images/image-queries.ts";
import { IMAGE_FORMATS, type ImageFormat, type ImageType, type ImageView } from "../../services/images/image-types.ts";
import { InstanceTypeEnum } from "../enums.ts";
import { NodeStub } from "../node-stub.ts";

export const ImageFormatEnum = enumOf(IMAGE_FORMATS);
registerEnumType(ImageFormatEnum, {
  name: "ImageFormat",
  description: "How an image is kept.",
  valuesConfig: { OCI: { description: "By a container engine." } },
});

@ObjectType("ImageOnNode", { description: "An image as one host has it.", simpleResolvers: true })
export class ImageOnNodeObject {
  @Field(() => NodeStub, { nullable: true, description: "Null where the node is no longer known." })
  node!: NodeStub | null;

  @Field(() => Int64, { description: "What it takes on the host's disk, in bytes." })
  sizeBytes!: number;

  @Field(() => DateTime, { nullable: true, description: "Since when it is there." })
  pulledAt!: Date | null;

  @Field(() => DateTime, { nullable: true, description: "When an instance was made of it last." })
  lastUsedAt!: Date | null;

  @Field(() => Boolean, { description: "Whether instances need it now: then it cannot be deleted." })
  inUse!: boolean;

  @Field(() => Boolean, { description: "False: put there by hand, or by the host's own tools, and never cleaned up." })
  managed!: boolean;
}

@ObjectType("Image", { description: "What instances are made of, with all hosts that have it.", simpleResolvers: true })
export class ImageObject {
  @Field(() => ID, { description: '"sha256:…" of a disk image, or the container engine\'s own id: equal on all hosts that have the same.' })
  id!: string;

  @Field(() => [String], { description: "What an instance's spec may name it by; those of all hosts together." })
  names!: string[];

  @Field(() => InstanceTypeEnum, { description: "CONTAINER, or VM: a disk image, for VMs and microVMs." })
  type!: ImageType;

  @Field(() => ImageFormatEnum, { nullable: true })
  format!: ImageFormat | null;

  @Field(() => String, { nullable: true, description: "Such as amd64." })
  architecture!: string | null;

  @Field(() => Int64, { description: "What it takes on a host's disk, in bytes; the largest of all hosts." })
  sizeBytes!: number;

  @Field(() => Int64, { nullable: true, description: "Of a disk image: what the guest sees, in bytes." })
  virtualSizeBytes!: number | null;

  @Field(() => DateTime, { nullable: true })
  createdAt!: Date | null;

  @Field(() => [ImageOnNodeObject], { description: "The hosts that have it, by the node's id." })
  nodes!: ImageOnNodeObject[];
}

@ObjectType("UnavailableNode", { description: "A node that could not be asked, and why.", simpleResolvers: true })
export class UnavailableNodeObject {
  @Field(() => NodeStub, { nullable: true })
  node!: NodeStub | null;

  @Field(() => String, {
    description:
      "One word: NODE_OFFLINE, NO_AGENT, NO_ADDRESS, AGENT_TIMEOUT, AGENT_UNREACHABLE, TOO_MANY_CALLS; DRIVER_UNAVAILABLE where only a part of its images is missing. More may come.",
  })
  reason!: string;

  @Field(() => String, { description: "A sentence, for people." })
  message!: string;
}

const ImageEdge = edgeType(ImageObject, "Image");

@ObjectType("ImageConnection", { description: "One page of a list, with what is missing from it.", simpleResolvers: true })
export class ImageConnection {
  @Field(() => [ImageObject], { description: "The page's objects, without their cursors." })
  nodes!: ImageObject[];

  @Field(() => [ImageEdge])
  edges!: Edge<ImageObject>[];

  @Field(() => PageInfo)
  pageInfo!: PageInfo;

  @Field(() => Int, { description: "All that match the filter, on every page." })
  totalCount!: number;

  @Field(() => [UnavailableNodeObject], { description: "Nodes whose images are not known now: the list may lack what they have." })
  unavailable!: UnavailableNodeObject[];
}

export function toImageConnection({ edges: found, pageInfo, totalCount, unavailable }: ImageList): ImageConnection {
  const edges = found.map(({ cursor, node }) => ({ cursor, node: toImageObject(node) }));
  return {
    nodes: edges.map(({ node }) => node),
    edges,
    pageInfo,
    totalCount,
    unavailable: unavailable.map(({ nodeId, why }) => ({ node: { id: nodeId }, reason: unavailableReason(why), message: why.message })),
  };
}

function toImageObject({ nodes, ...image }: ImageView): ImageObject {
  return { ...image, nodes: nodes.map(({ nodeId, ...there }) => ({ node: { id: nodeId }, ...there })) };
}
