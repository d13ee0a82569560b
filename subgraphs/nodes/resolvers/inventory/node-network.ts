import type { GraphQLResolveInfo } from "graphql";
import { Arg, Ctx, FieldResolver, ID, Info, Int, Resolver, Root, Subscription } from "type-graphql";
import { mapIterator } from "../../../kit/graphql/async-iterators.ts";
import type { InterfaceKindName } from "../../services/inventory/views/enum-names.ts";
import { type NetworkView, networkView } from "../../services/inventory/views/network-view.ts";
import { NodeStub } from "../node-stub.ts";
import type { NodesContext } from "../nodes-context.ts";
import { NodeTrafficObject } from "./counters-type.ts";
import { NodeInterfaceKindEnum } from "./enums.ts";
import { NodeInterfaceObject, NodeNetworkObject } from "./network-types.ts";
import { volatileFieldsOf } from "./volatile-fields.ts";

const COUNTERS = ["nics", "bridges", "bonds", "vlans", "virtualFunctions", "others"].map((list) => `${list}.counters`);

interface TrafficArgs {
  nodeId: string;
  intervalSeconds: number;
  interfaces?: string[] | null;
}

@Resolver(() => NodeStub)
class NodeNetworkResolver {
  @FieldResolver(() => NodeNetworkObject, {
    nullable: true,
    description:
      "The host's interfaces as they were reported, and their counters as they are now. Null for a node that no longer exists. Rights: viewer.",
  })
  async network(@Root() { id }: NodeStub, @Ctx() context: NodesContext, @Info() info: GraphQLResolveInfo): Promise<NetworkView | null> {
    const reads = context.services.inventory;
    const isAbsent = reads.presence(id).state === "absent";
    const wantsCounters = !isAbsent && volatileFieldsOf(info, context, COUNTERS).length > 0;
    const [inventory, counters] = await Promise.all([context.inventory.NETWORK.load(id), wantsCounters ? context.counters.load(id) : null]);
    if (inventory === null && isAbsent) return null;
    return networkView({ inventory, missing: reads.missingReason(id), counters });
  }
}

@Resolver(() => NodeNetworkObject)
class OtherInterfacesResolver {
  @FieldResolver(() => [NodeInterfaceObject], {
    nullable: true,
    description: "Of other kinds than those above: taps, ends of pairs, loopback, …; by name. Null where they could not be read.",
  })
  others(
    @Root() { others }: NetworkView,
    @Arg("kinds", () => [NodeInterfaceKindEnum], { nullable: true, description: "Only these; empty or left out: all." })
    kinds: InterfaceKindName[] | null,
  ): NodeInterfaceObject[] | null {
    if (!kinds?.length) return others;
    return others?.filter(({ kind }) => kind !== null && kinds.includes(kind)) ?? null;
  }
}

@Resolver(() => NodeTrafficObject)
class NodeTrafficResolver {
  @Subscription(() => NodeTrafficObject, {
    description:
      "The counters of a host's interfaces at once and then at each interval, from the second sample on with rates. Ends with UNAVAILABLE when its agent is lost: subscribe again. Rights: viewer.",
    subscribe: ({ args, context }: { args: TrafficArgs; context: NodesContext }) =>
      mapIterator(context.services.traffic.watch(context.request, args), ({ observedAt, interfaces, unavailable }) => ({
        node: { id: args.nodeId },
        observedAt: observedAt ?? null,
        interfaces,
        unavailable,
      })),
  })
  nodeTraffic(
    @Root() sample: NodeTrafficObject,
    @Arg("nodeId", () => ID) _nodeId: string,
    @Arg("intervalSeconds", () => Int, { defaultValue: 1, description: "1–60 seconds." }) _intervalSeconds: number,
    @Arg("interfaces", () => [String], { nullable: true, description: "Names, at most 500; empty or left out: all." })
    _interfaces?: string[] | null,
  ): NodeTrafficObject {
    return sample;
  }
}

export const NETWORK_FIELDS = [NodeNetworkResolver, OtherInterfacesResolver, NodeTrafficResolver] as const;
