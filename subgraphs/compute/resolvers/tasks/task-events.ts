import { Arg, Directive, Resolver, Root, Subscription } from "type-graphql";
import { RESUMABLE } from "../../../kit/graphql/resumable.ts";
import { toWatchStream } from "../../../kit/graphql/watch-stream.ts";
import type { ComputeContext } from "../compute-context.ts";
import { TaskFilterInput } from "./task-inputs.ts";
import { TaskEventObject, toTaskObject } from "./task-type.ts";

interface TaskEventsArgs {
  filter?: TaskFilterInput | null;
  after?: string | null;
  snapshot?: boolean | null;
}

@Resolver(() => TaskEventObject)
export class TaskEventsResolver {
  @Directive(RESUMABLE)
  @Subscription(() => TaskEventObject, {
    description:
      "Changes of tasks, progress at most once a second: from now on, behind `after`, or with `snapshot` first what is kept as ADDED and then a BOOKMARK. Rights: viewer.",
    subscribe: ({ args, context }: { args: TaskEventsArgs; context: ComputeContext }) =>
      toWatchStream(context.services.tasks.watch(context.request, { ...args, bookmarks: true }), (task) => ({
        task: task && toTaskObject(task),
      })),
  })
  taskEvents(
    @Root() event: TaskEventObject,
    @Arg("filter", () => TaskFilterInput, { nullable: true }) _filter?: TaskFilterInput | null,
    @Arg("after", () => String, { nullable: true, description: "A cursor: go on behind it, without gap or repeat." }) _after?:
      | string
      | null,
    @Arg("snapshot", () => Boolean, { nullable: true, description: "First what exists. Not used with `after`." }) _snapshot?:
      | boolean
      | null,
  ): TaskEventObject {
    return event;
  }
}
