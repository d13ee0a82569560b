import { Arg, Ctx, Field, Mutation, ObjectType, Resolver } from "type-graphql";
import type { ComputeContext } from "../compute-context.ts";
import { DeleteImagePayload, toDeletionPayload } from "./image-deletion-type.ts";
import { ImageObject } from "./image-type.ts";
import { CancelImagePullInput, DeleteImageInput, PullImageInput } from "./pull-inputs.ts";
import { ImagePullObject, toPullObject } from "./pull-type.ts";

@ObjectType("PullImagePayload", { simpleResolvers: true })
export class PullImagePayload {
  @Field(() => ImagePullObject, { description: "As it begins; the subscription imagePull tells how it goes on." })
  pull!: ImagePullObject;
}

@ObjectType("CancelImagePullPayload", { simpleResolvers: true })
export class CancelImagePullPayload {
  @Field(() => ImagePullObject, { description: "What is under way on a host ends a moment later." })
  pull!: ImagePullObject;
}

@Resolver(() => ImageObject)
export class ImageMutationsResolver {
  @Mutation(() => PullImagePayload, {
    description:
      "Brings an image to nodes: to those that are named, or to one that is chosen. Returns at once; a host that is away has it brought when it is back. Rights: operator.",
  })
  async pullImage(
    @Arg("input", () => PullImageInput) input: PullImageInput,
    @Ctx() { request, services }: ComputeContext,
  ): Promise<PullImagePayload> {
    return { pull: toPullObject(await services.images.pulls.pull(request, input)) };
  }

  @Mutation(() => CancelImagePullPayload, {
    description:
      "Ends a pull on all nodes where it has not ended. FAILED_PRECONDITION (reason PullEnded) where it is done or has failed. Rights: operator.",
  })
  async cancelImagePull(
    @Arg("input", () => CancelImagePullInput) { pullId }: CancelImagePullInput,
    @Ctx() { request, services }: ComputeContext,
  ): Promise<CancelImagePullPayload> {
    return { pull: toPullObject(await services.images.pulls.cancel(request, pullId)) };
  }

  @Mutation(() => DeleteImagePayload, {
    description:
      "Removes an image from hosts, each for itself. NOT_FOUND where no host has it; what a host says against it is in the payload (reason ImageInUse while instances need it). Rights: admin.",
  })
  async deleteImage(
    @Arg("input", () => DeleteImageInput) input: DeleteImageInput,
    @Ctx() { request, services }: ComputeContext,
  ): Promise<DeleteImagePayload> {
    return toDeletionPayload(await services.images.deletions.delete(request, input));
  }
}
