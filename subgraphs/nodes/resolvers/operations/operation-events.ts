import { Arg, Directive, Resolver, Root, Subscription } from "type-graphql";
import { RESUMABLE } from "../../../kit/graphql/resumable.ts";
import { toWatchStream } from "../../../kit/graphql/watch-stream.ts";
import type { OperationWatch } from "../../services/operations/operation-queries.ts";
import type { NodesContext } from "../nodes-context.ts";
import { NodeOperationFilterInput } from "./operation-inputs.ts";
import { NodeOperationEventObject, toOperationObject } from "./operation-object.ts";

@Resolver(() => NodeOperationEventObject)
export class NodeOperationEventsResolver {
  @Directive(RESUMABLE)
  @Subscription(() => NodeOperationEventObject, {
    description:
      "Changes of operations on nodes, each phase and the progress in it: from now on, behind `after`, or with `snapshot` first what is kept as ADDED and then a BOOKMARK. Rights: viewer.",
    subscribe: ({ args, context }: { args: OperationWatch; context: NodesContext }) =>
      toWatchStream(context.services.operations.queries.watch(context.request, args), (operation) => ({
        nodeOperation: operation && toOperationObject(operation),
      })),
  })
  nodeOperationEvents(
    @Root() event: NodeOperationEventObject,
    @Arg("filter", () => NodeOperationFilterInput, { nullable: true }) _filter?: NodeOperationFilterInput | null,
    @Arg("after", () => String, { nullable: true, description: "A cursor: go on behind it, without gap or repeat." }) _after?:
      | string
      | null,
    @Arg("snapshot", () => Boolean, {
      nullable: true,
      defaultValue: false,
      description: "First what exists, as ADDED. Not used with `after`.",
    })
    _snapshot?: boolean | null,
  ): NodeOperationEventObject {
    return event;
  }
}
