import { Arg, Args, Ctx, FieldResolver, ID, Query, Resolver, Root } from "type-graphql";
import { type Connection, ConnectionArgs, toConnection } from "../../../kit/graphql/connection.ts";
import type { OperationList } from "../../services/operations/operation-queries.ts";
import { NodeStub } from "../node-stub.ts";
import type { NodesContext } from "../nodes-context.ts";
import { NodeOperationFilterInput } from "./operation-inputs.ts";
import { NodeOperationConnection, NodeOperationObject, toOperationObject } from "./operation-object.ts";

@Resolver(() => NodeStub)
export class NodeOperationFieldsResolver {
  @FieldResolver(() => NodeOperationObject, {
    nullable: true,
    description: "What is being done to the node now: rebooting, being evacuated, …; null for nothing. Rights: viewer.",
  })
  async operation(@Root() { id }: NodeStub, @Ctx() { operations }: NodesContext): Promise<NodeOperationObject | null> {
    const operation = await operations.load(id);
    return operation && toOperationObject(operation);
  }

  @FieldResolver(() => NodeOperationConnection, {
    nullable: true,
    description: "What is, or was, done to the node, newest first; ended ones while they are kept. Rights: viewer.",
  })
  async operations(
    @Root() { id }: NodeStub,
    @Args(() => ConnectionArgs) page: ConnectionArgs,
    @Ctx() { request, services }: NodesContext,
  ): Promise<Connection<NodeOperationObject>> {
    return toOperationConnection(await services.operations.queries.list(request, { nodeId: id }, page));
  }
}

@Resolver(() => NodeOperationObject)
export class NodeOperationQueriesResolver {
  @Query(() => NodeOperationObject, {
    nullable: true,
    description: "One operation. NOT_FOUND where there is none, or it is no longer kept. Rights: viewer.",
  })
  async nodeOperation(@Arg("id", () => ID) id: string, @Ctx() { request, services }: NodesContext): Promise<NodeOperationObject> {
    return toOperationObject(await services.operations.queries.get(request, id));
  }

  @Query(() => NodeOperationConnection, { description: "Operations on nodes, newest first. Rights: viewer." })
  async nodeOperations(
    @Arg("filter", () => NodeOperationFilterInput, { nullable: true }) filter: NodeOperationFilterInput | null,
    @Args(() => ConnectionArgs) page: ConnectionArgs,
    @Ctx() { request, services }: NodesContext,
  ): Promise<Connection<NodeOperationObject>> {
    return toOperationConnection(await services.operations.queries.list(request, filter, page));
  }

  @FieldResolver(() => NodeStub, { nullable: true, description: "Null where the node is no longer known." })
  node(@Root() { nodeId }: NodeOperationObject): NodeStub | null {
    return { id: nodeId };
  }
}

function toOperationConnection(list: OperationList): Connection<NodeOperationObject> {
  const edges = list.edges.map(({ node, cursor }) => ({ node: toOperationObject(node), cursor }));
  return toConnection({ edges, pageInfo: list.pageInfo }, list.totalCount, list.watchCursor);
}
