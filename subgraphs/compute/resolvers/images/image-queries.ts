import { Arg, Args, Ctx, Field, ID, InputType, Query, Resolver } from "type-graphql";
import { ConnectionArgs } from "../../../kit/graphql/connection.ts";
import type { InstanceType } from "../../services/instance-types.ts";
import type { ComputeContext } from "../compute-context.ts";
import { InstanceTypeEnum } from "../enums.ts";
import { ImageConnection, ImageObject, toImageConnection } from "./image-type.ts";

@InputType("ImageFilter", { description: "What is null or left out does not filter." })
export class ImageFilterInput {
  @Field(() => ID, { nullable: true, description: "Only what this node has. NOT_FOUND where there is no such node." })
  nodeId?: string | null;

  @Field(() => InstanceTypeEnum, { nullable: true, description: "VM and MICROVM have the same images." })
  type?: InstanceType | null;

  @Field(() => String, { nullable: true, description: "A part of one of its names, upper and lower case alike." })
  name?: string | null;
}

@Resolver(() => ImageObject)
export class ImageQueriesResolver {
  @Query(() => ImageConnection, {
    description:
      "What images there are, by name: asked of the hosts as the request comes. Those that cannot be asked are named in `unavailable`. Rights: viewer.",
  })
  async images(
    @Arg("filter", () => ImageFilterInput, { nullable: true }) filter: ImageFilterInput | null,
    @Args(() => ConnectionArgs) page: ConnectionArgs,
    @Ctx() { request, services }: ComputeContext,
  ): Promise<ImageConnection> {
    return toImageConnection(await services.images.queries.list(request, filter, page));
  }
}
