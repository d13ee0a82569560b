import { Arg, Args, Ctx, FieldResolver, Resolver, Root } from "type-graphql";
import { invalidArgument } from "../../../platform/errors/fleet-error.ts";
import { type Connection, ConnectionArgs } from "../../kit/graphql/connection.ts";
import type { ComputeContext } from "./compute-context.ts";
import { InstanceFilterInput, toRawFilter } from "./instance-filter-input.ts";
import { toInstanceConnection } from "./instance-queries.ts";
import { InstanceConnection, type InstanceObject } from "./instance-type.ts";
import { InstanceTypeSupportObject, NodeInstanceTotalsObject } from "./node-instances-type.ts";
import { NodeStub } from "./node-stub.ts";

/** What this subgraph adds to the node, which the clusters subgraph owns. */
@Resolver(() => NodeStub)
export class NodeInstancesResolver {
  @FieldResolver(() => InstanceConnection, {
    nullable: true,
    description: "What is on the node, by name: managed or not, deleted ones left out unless asked for. Rights: viewer.",
  })
  async instances(
    @Root() { id }: NodeStub,
    @Arg("filter", () => InstanceFilterInput, { nullable: true, description: "Without nodeId." }) filter: InstanceFilterInput | null,
    @Args(() => ConnectionArgs) page: ConnectionArgs,
    @Ctx() { request, services }: ComputeContext,
  ): Promise<Connection<InstanceObject>> {
    if (filter?.nodeId) throw invalidArgument("filter.nodeId", "The node is the one whose field this is.");
    return toInstanceConnection(await services.queries.list(request, { ...toRawFilter(filter), nodeId: id }, page));
  }

  @FieldResolver(() => NodeInstanceTotalsObject, {
    nullable: true,
    description: "How many instances the node has, and what they hold of it. Rights: viewer.",
  })
  async instanceTotals(@Root() { id }: NodeStub, @Ctx() { nodeTotals }: ComputeContext): Promise<NodeInstanceTotalsObject> {
    const { reserved, ...counts } = await nodeTotals.load(id);
    return {
      ...counts,
      reservedCpuCores: reserved.cpuCores,
      reservedMemoryBytes: reserved.memoryBytes,
      reservedDiskBytes: reserved.diskBytes,
      reservedGpuCount: reserved.gpuCount,
    };
  }

  @FieldResolver(() => [InstanceTypeSupportObject], {
    nullable: true,
    description:
      "What can run here, tried rather than guessed; why not, and what to install. Null where its agent has not told. Rights: viewer.",
  })
  instanceTypes(@Root() { id }: NodeStub, @Ctx() { typeSupport }: ComputeContext): Promise<InstanceTypeSupportObject[] | null> {
    return typeSupport.load(id);
  }
}

/** The entity itself is the clusters subgraph's to tell; this only stands for it. */
export function resolveNodeReference({ id }: { id: string }): NodeStub {
  return { id };
}
