import { Arg, Ctx, FieldResolver, ID, Int, Resolver, Root, Subscription } from "type-graphql";
import { mapIterator } from "../../kit/graphql/async-iterators.ts";
import type { ComputeContext } from "./compute-context.ts";
import { InstanceStatsObject, toStatsObject } from "./instance-stats-type.ts";
import { InstanceObject } from "./instance-type.ts";

interface InstanceStatsArgs {
  instanceId: string;
  intervalSeconds: number;
}

@Resolver(() => InstanceObject)
export class InstanceStatsResolver {
  @FieldResolver(() => InstanceStatsObject, {
    nullable: true,
    description: "Read from its host for this request. What cannot be read is null and has an entry in `unavailable`.",
  })
  async stats(@Root() instance: InstanceObject, @Ctx() { stats }: ComputeContext): Promise<InstanceStatsObject> {
    return toStatsObject(instance.id, await stats.load(instance));
  }

  @Subscription(() => InstanceStatsObject, {
    description:
      "Readings of one instance: the first within a second, then one each interval; of a reader that is slow, only the newest is kept. An instance is read once however many watch it. Goes on while it is stopped; ends with NOT_FOUND, reason InstanceDeleted, once it is deleted. Rights: viewer.",
    subscribe: async ({ args, context }: { args: InstanceStatsArgs; context: ComputeContext }) => {
      const samples = await context.services.sampler.watch(context.request, args.instanceId, args.intervalSeconds);
      return mapIterator(samples, (sample) => toStatsObject(sample.id, sample));
    },
  })
  instanceStats(
    @Root() stats: InstanceStatsObject,
    @Arg("instanceId", () => ID) _instanceId: string,
    @Arg("intervalSeconds", () => Int, { defaultValue: 5, description: "1–3600 seconds." }) _intervalSeconds: number,
  ): InstanceStatsObject {
    return stats;
  }
}
