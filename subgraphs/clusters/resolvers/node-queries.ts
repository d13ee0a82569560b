import { Arg, Args, Ctx, ID, Query, Resolver } from "type-graphql";
import { type Connection, ConnectionArgs, toConnection } from "../../kit/graphql/connection.ts";
import type { ClustersContext } from "./clusters-context.ts";
import { NodeFilterInput } from "./node-inputs.ts";
import { ClusterInfoType, NodeConnection, NodeType, toNodeType } from "./node-type.ts";

@Resolver(() => NodeType)
export class NodeQueriesResolver {
  @Query(() => NodeConnection, { description: "Nodes by hostname. Rights: viewer." })
  async nodes(
    @Arg("filter", () => NodeFilterInput, { nullable: true }) filter: NodeFilterInput | null,
    @Args(() => ConnectionArgs) page: ConnectionArgs,
    @Ctx() { request, services }: ClustersContext,
  ): Promise<Connection<NodeType>> {
    const list = await services.queries.list(request, filter, page);
    const edges = list.edges.map(({ node, cursor }) => ({ node: toNodeType(node), cursor }));
    return toConnection({ edges, pageInfo: list.pageInfo }, list.totalCount, list.watchCursor);
  }

  @Query(() => NodeType, { nullable: true, description: "One node, deregistered ones too. Rights: viewer. NOT_FOUND where there is none." })
  async node(@Arg("id", () => ID) id: string, @Ctx() { request, services }: ClustersContext): Promise<NodeType> {
    return toNodeType(await services.queries.get(request, id, "id"));
  }

  @Query(() => ClusterInfoType, { description: "The fleet as a whole. Rights: viewer." })
  clusterInfo(@Ctx() { request, services }: ClustersContext): Promise<ClusterInfoType> {
    return services.queries.clusterInfo(request);
  }
}

/** Resolves `Node` where another subgraph refers to one; null where there is none. */
export async function resolveNodeReference({ id }: { id: string }, { nodes }: ClustersContext): Promise<NodeType | null> {
  const node = await nodes.load(id);
  return node && toNodeType(node);
}
