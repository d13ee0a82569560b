import { Arg, Directive, Resolver, Root, Subscription } from "type-graphql";
import { RESUMABLE } from "../../../kit/graphql/resumable.ts";
import { toWatchStream } from "../../../kit/graphql/watch-stream.ts";
import type { HardwareWatch } from "../../services/inventory/hardware-events.ts";
import type { NodesContext } from "../nodes-context.ts";
import { HardwareEventFilterInput, NodeHardwareEventObject, toHardwareChangeObject } from "./hardware-event-types.ts";

@Resolver(() => NodeHardwareEventObject)
export class NodeHardwareEventsResolver {
  @Directive(RESUMABLE)
  @Subscription(() => NodeHardwareEventObject, {
    description:
      "Changes of hosts' hardware, within a second of the kernel's word: from now on, or behind `after`. What a host had when it was first reported is no change, save disks that are failing. Rights: viewer.",
    subscribe: ({ args, context }: { args: HardwareWatch; context: NodesContext }) =>
      toWatchStream(context.services.hardwareEvents.watch(context.request, args), (change) => ({
        nodeHardwareChange: change && toHardwareChangeObject(change),
      })),
  })
  nodeHardwareEvents(
    @Root() event: NodeHardwareEventObject,
    @Arg("filter", () => HardwareEventFilterInput, { nullable: true }) _filter?: HardwareEventFilterInput | null,
    @Arg("after", () => String, { nullable: true, description: "A cursor: go on behind it, without gap or repeat." }) _after?:
      | string
      | null,
    @Arg("snapshot", () => Boolean, {
      nullable: true,
      defaultValue: false,
      description: "First the last change of each piece that ever changed and is still there, as ADDED. Not used with `after`.",
    })
    _snapshot?: boolean | null,
  ): NodeHardwareEventObject {
    return event;
  }
}
