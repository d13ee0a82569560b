import { Field, ID, ObjectType, registerEnumType } from "type-graphql";
import { enumOf } from "../../../kit/graphql/enum-of.ts";
import { DateTime, Int64 } from "../../../kit/graphql/scalars.ts";
import type { ImageType } from "../../services/images/image-types.ts";
import { type ImagePullView, PULL_STATUSES, type PullStatus } from "../../services/images/pull-view.ts";
import { InstanceTypeEnum } from "../enums.ts";
import { NodeStub } from "../node-stub.ts";
import { TaskErrorType, TaskObject, toTaskObject } from "../tasks/task-type.ts";

export const ImagePullStatusEnum = enumOf(PULL_STATUSES);
registerEnumType(ImagePullStatusEnum, {
  name: "ImagePullStatus",
  description: "What is being done, on several nodes together. DONE, FAILED and CANCELLED are its end.",
  valuesConfig: {
    WAITING: { description: "For its turn, for a host that is away, or for the next try." },
    DONE: { description: "Every node has the image." },
    FAILED: { description: "At least one node does not have it: see error, and each node's task." },
    CANCELLED: { description: "Somebody asked for its end." },
  },
});

@ObjectType("ImagePullNode", { description: "One node's part of a pull.", simpleResolvers: true })
export class ImagePullNodeObject {
  @Field(() => NodeStub, { nullable: true, description: "Null where the node is no longer known." })
  node!: NodeStub | null;

  @Field(() => TaskObject)
  task!: TaskObject;
}

@ObjectType("ImagePull", {
  description: "An image on its way to one node or to several. It goes on whatever becomes of who asked for it.",
  simpleResolvers: true,
})
export class ImagePullObject {
  @Field(() => ID, { description: "Also the groupId of its tasks." })
  id!: string;

  @Field(() => String, { description: "As it was asked for; without the query of a URL, which may hold a secret." })
  imageRef!: string;

  @Field(() => InstanceTypeEnum, { description: "CONTAINER, or VM: a disk image, for VMs and microVMs." })
  type!: ImageType;

  @Field(() => ImagePullStatusEnum)
  status!: PullStatus;

  @Field(() => Int64, { description: "Bytes, of all nodes together." })
  currentBytes!: number;

  @Field(() => Int64, { nullable: true, description: "Bytes, of all nodes together; null where one of them cannot tell." })
  totalBytes!: number | null;

  @Field(() => Boolean, { description: "Every node has it." })
  completed!: boolean;

  @Field(() => TaskErrorType, { nullable: true, description: "Where it is FAILED: of the first node that does not have it." })
  error!: TaskErrorType | null;

  @Field(() => DateTime)
  createdAt!: string;

  @Field(() => [ImagePullNodeObject], { description: "By the node's id." })
  nodes!: ImagePullNodeObject[];
}

export function toPullObject({ tasks, ...pull }: ImagePullView): ImagePullObject {
  return {
    ...pull,
    nodes: tasks.map((task) => ({ node: task.nodeId === null ? null : { id: task.nodeId }, task: toTaskObject(task) })),
  };
}
