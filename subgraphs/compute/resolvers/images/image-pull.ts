import { Arg, Ctx, ID, Query, Resolver, Root, Subscription } from "type-graphql";
import { mapIterator } from "../../../kit/graphql/async-iterators.ts";
import type { ComputeContext } from "../compute-context.ts";
import { ImagePullObject, toPullObject } from "./pull-type.ts";

@Resolver(() => ImagePullObject)
export class ImagePullResolver {
  @Query(() => ImagePullObject, {
    name: "imagePull",
    nullable: true,
    description: "A pull as it is now. Rights: viewer. NOT_FOUND where there is none, or it is no longer kept.",
  })
  async imagePullNow(@Arg("id", () => ID) id: string, @Ctx() { request, services }: ComputeContext): Promise<ImagePullObject> {
    return toPullObject(await services.images.pulls.get(request, id, "id"));
  }

  @Subscription(() => ImagePullObject, {
    description:
      "A pull as it is, then as it goes on, at most twice a second, and at last as it ended (DONE, FAILED or CANCELLED); then it completes. One that is over already has that frame alone. Rights: viewer.",
    subscribe: async ({ args, context }: { args: { id: string }; context: ComputeContext }) =>
      mapIterator(await context.services.images.pulls.watch(context.request, args.id, "id"), toPullObject),
  })
  imagePull(@Root() pull: ImagePullObject, @Arg("id", () => ID) _id: string): ImagePullObject {
    return pull;
  }
}
