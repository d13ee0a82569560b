import { Arg, Args, Ctx, ID, Query, Resolver } from "type-graphql";
import { type Connection, ConnectionArgs, toConnection } from "../../kit/graphql/connection.ts";
import type { InstanceList } from "../services/instance-queries.ts";
import type { ComputeContext } from "./compute-context.ts";
import { InstanceFilterInput, toRawFilter } from "./instance-filter-input.ts";
import { InstanceConnection, InstanceObject, toInstanceObject } from "./instance-type.ts";

@Resolver(() => InstanceObject)
export class InstanceQueriesResolver {
  @Query(() => InstanceConnection, { description: "Instances by name. Rights: viewer." })
  async instances(
    @Arg("filter", () => InstanceFilterInput, { nullable: true }) filter: InstanceFilterInput | null,
    @Args(() => ConnectionArgs) page: ConnectionArgs,
    @Ctx() { request, services }: ComputeContext,
  ): Promise<Connection<InstanceObject>> {
    return toInstanceConnection(await services.queries.list(request, toRawFilter(filter), page));
  }

  @Query(() => InstanceObject, {
    nullable: true,
    description: "One instance, deleted ones too while they are kept. Rights: viewer. NOT_FOUND where there is none.",
  })
  async instance(@Arg("id", () => ID) id: string, @Ctx() { request, services }: ComputeContext): Promise<InstanceObject> {
    return toInstanceObject(await services.queries.get(request, id, "id"));
  }
}

export function toInstanceConnection(list: InstanceList): Connection<InstanceObject> {
  const edges = list.edges.map(({ node, cursor }) => ({ node: toInstanceObject(node), cursor }));
  return toConnection({ edges, pageInfo: list.pageInfo }, list.totalCount, list.watchCursor);
}

/** Resolves `Instance` where another subgraph refers to one; null where there is none. */
export async function resolveInstanceReference({ id }: { id: string }, { instances }: ComputeContext): Promise<InstanceObject | null> {
  const instance = await instances.load(id);
  return instance && toInstanceObject(instance);
}
