import { Field, ID, ObjectType } from "type-graphql";
import { Int64 } from "../../../kit/graphql/scalars.ts";
import type { DeletionOutcome } from "../../services/images/image-deletions.ts";
import { NodeStub } from "../node-stub.ts";

@ObjectType("ImageDeletionError", { description: "Why an image was not deleted from a node.", simpleResolvers: true })
export class ImageDeletionErrorObject {
  @Field(() => String, { description: "As an error's extensions.code." })
  code!: string;

  @Field(() => String, { nullable: true, description: "ImageInUse where instances need it; otherwise as an error's extensions.reason." })
  reason!: string | null;

  @Field(() => String, { description: "For people." })
  message!: string;

  @Field(() => [ID], { description: "The instances that need it." })
  instanceIds!: string[];
}

@ObjectType("ImageDeletion", { description: "What became of an image on one node.", simpleResolvers: true })
export class ImageDeletionObject {
  @Field(() => NodeStub, { nullable: true, description: "Null where the node is no longer known." })
  node!: NodeStub | null;

  @Field(() => Boolean)
  deleted!: boolean;

  @Field(() => Int64, { nullable: true, description: "What became free on the host's disk, in bytes; null where it was not deleted." })
  freedBytes!: number | null;

  @Field(() => ImageDeletionErrorObject, { nullable: true, description: "Null where it was deleted." })
  error!: ImageDeletionErrorObject | null;
}

@ObjectType("DeleteImagePayload", { simpleResolvers: true })
export class DeleteImagePayload {
  @Field(() => [ImageDeletionObject], {
    description: "One for each node that was named; where none was, for each that had it, and for each that could not be asked.",
  })
  nodes!: ImageDeletionObject[];

  @Field(() => Int64, { description: "What became free on all of them, in bytes." })
  freedBytes!: number;
}

export function toDeletionPayload(outcomes: readonly DeletionOutcome[]): DeleteImagePayload {
  return {
    nodes: outcomes.map(toDeletionObject),
    freedBytes: outcomes.reduce((sum, { freedBytes }) => sum + (freedBytes ?? 0), 0),
  };
}

function toDeletionObject({ nodeId, freedBytes, error }: DeletionOutcome): ImageDeletionObject {
  const ids = error?.details["instanceIds"];
  return {
    node: { id: nodeId },
    deleted: error === null,
    freedBytes,
    error: error && {
      code: error.code,
      reason: error.reason ?? null,
      message: error.message,
      instanceIds: Array.isArray(ids) ? ids.map(String) : [],
    },
  };
}
