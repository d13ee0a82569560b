import { Arg, Directive, ID, Resolver, Root, Subscription } from "type-graphql";
import { RESUMABLE } from "../../kit/graphql/resumable.ts";
import { toWatchStream } from "../../kit/graphql/watch-stream.ts";
import type { RawNodeFilter } from "../services/node-input.ts";
import type { ClustersContext } from "./clusters-context.ts";
import { NodeFilterInput } from "./node-inputs.ts";
import { NodeEventType, toNodeType } from "./node-type.ts";

interface NodeEventsArgs {
  nodeIds?: string[] | null;
  filter?: RawNodeFilter | null;
  after?: string | null;
  snapshot?: boolean | null;
}

@Resolver(() => NodeEventType)
export class NodeEventsResolver {
  @Directive(RESUMABLE)
  @Subscription(() => NodeEventType, {
    description:
      "Changes of nodes: from now on, behind `after`, or with `snapshot` first what exists as ADDED and then a BOOKMARK. A node that enters or leaves the filter is ADDED or DELETED. Rights: viewer.",
    subscribe: ({ args, context }: { args: NodeEventsArgs; context: ClustersContext }) =>
      toWatchStream(context.services.queries.watch(context.request, { ...args, bookmarks: true }), (node) => ({
        node: node && toNodeType(node),
      })),
  })
  nodeEvents(
    @Root() event: NodeEventType,
    @Arg("nodeIds", () => [ID], { nullable: true, description: "Only these; empty or left out: all." }) _nodeIds?: string[] | null,
    @Arg("filter", () => NodeFilterInput, { nullable: true }) _filter?: NodeFilterInput | null,
    @Arg("after", () => String, { nullable: true, description: "A cursor: go on behind it, without gap or repeat." }) _after?:
      | string
      | null,
    @Arg("snapshot", () => Boolean, { nullable: true, description: "First what exists. Not used with `after`." }) _snapshot?:
      | boolean
      | null,
  ): NodeEventType {
    return event;
  }
}
