import "reflect-metadata";
import { ArgsType, type ClassType, Field, Int, ObjectType } from "type-graphql";
import { PageInfo } from "./shared-types.ts";

/** The arguments of every list that grows. The pager checks them: 1 ≤ first ≤ 100, default 20. */
@ArgsType()
export class ConnectionArgs {
  @Field(() => Int, { nullable: true, description: "How many at most: 1–100, default 20." })
  first?: number | null;

  @Field(() => String, { nullable: true, description: "Go on behind this cursor: `pageInfo.endCursor` of the page before." })
  after?: string | null;
}

export interface Edge<T> {
  node: T;
  cursor: string;
}

/** One page of a list, as a resolver answers it. */
export interface Connection<T> {
  nodes: T[];
  edges: Edge<T>[];
  pageInfo: PageInfo;
  totalCount: number;
  watchCursor: string;
}

/** What `connectionType` needs of a page: a pager's answer. */
export interface Page<T> {
  edges: Edge<T>[];
  pageInfo: PageInfo;
}

/** The GraphQL type `<name>Edge`. For a connection that has more than others; `connectionType` brings its own. */
export function edgeType<T extends object>(nodeType: ClassType<T>, name: string): ClassType<Edge<T>> {
  @ObjectType(`${name}Edge`, { simpleResolvers: true })
  class EdgeType implements Edge<T> {
    @Field(() => nodeType)
    node!: T;

    @Field(() => String, { description: "For `after`." })
    cursor!: string;
  }

  return EdgeType;
}

/**
 * The GraphQL types `<name>Connection` and `<name>Edge` of an object type. To be called once per type:
 * `export const NodeConnection = connectionType(NodeType, "Node");`
 */
export function connectionType<T extends object>(nodeType: ClassType<T>, name: string): ClassType<Connection<T>> {
  const EdgeType = edgeType(nodeType, name);

  @ObjectType(`${name}Connection`, { description: "One page of a list.", simpleResolvers: true })
  class ConnectionType implements Connection<T> {
    @Field(() => [nodeType], { description: "The page's objects, without their cursors." })
    nodes!: T[];

    @Field(() => [EdgeType])
    edges!: Edge<T>[];

    @Field(() => PageInfo)
    pageInfo!: PageInfo;

    @Field(() => Int, { description: "All that match the filter, on every page." })
    totalCount!: number;

    @Field(() => String, {
      description: "Taken before the list was read: a watch with it as `after` shows every change since, without a gap.",
    })
    watchCursor!: string;
  }

  return ConnectionType;
}

/** A page with what goes around it. */
export function toConnection<T>(page: Page<T>, totalCount: number, watchCursor: string): Connection<T> {
  return { nodes: page.edges.map((edge) => edge.node), edges: page.edges, pageInfo: page.pageInfo, totalCount, watchCursor };
}
