import { Arg, Directive, Resolver, Root, Subscription } from "type-graphql";
import { RESUMABLE } from "../../kit/graphql/resumable.ts";
import { toWatchStream } from "../../kit/graphql/watch-stream.ts";
import type { ComputeContext } from "./compute-context.ts";
import { InstanceFilterInput, toRawFilter } from "./instance-filter-input.ts";
import { InstanceEventObject, toInstanceObject } from "./instance-type.ts";

interface InstanceEventsArgs {
  filter?: InstanceFilterInput | null;
  after?: string | null;
  snapshot?: boolean | null;
}

@Resolver(() => InstanceEventObject)
export class InstanceEventsResolver {
  @Directive(RESUMABLE)
  @Subscription(() => InstanceEventObject, {
    description:
      "Changes of instances: from now on, behind `after`, or with `snapshot` first what exists as ADDED and then a BOOKMARK. An instance that enters or leaves the filter is ADDED or DELETED. Rights: viewer.",
    subscribe: ({ args, context }: { args: InstanceEventsArgs; context: ComputeContext }) =>
      toWatchStream(
        context.services.queries.watch(context.request, { ...args, filter: toRawFilter(args.filter), bookmarks: true }),
        (instance) => ({ instance: instance && toInstanceObject(instance) }),
      ),
  })
  instanceEvents(
    @Root() event: InstanceEventObject,
    @Arg("filter", () => InstanceFilterInput, { nullable: true }) _filter?: InstanceFilterInput | null,
    @Arg("after", () => String, { nullable: true, description: "A cursor: go on behind it, without gap or repeat." }) _after?:
      | string
      | null,
    @Arg("snapshot", () => Boolean, { nullable: true, description: "First what exists. Not used with `after`." }) _snapshot?:
      | boolean
      | null,
  ): InstanceEventObject {
    return event;
  }
}
