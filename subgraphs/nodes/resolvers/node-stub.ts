import "reflect-metadata";
import { Directive, Field, ID, ObjectType } from "type-graphql";

/** The node, which the clusters subgraph owns; this only stands for it. */
@ObjectType("Node", { simpleResolvers: true })
@Directive('@key(fields: "id")')
export class NodeStub {
  @Field(() => ID)
  id!: string;
}

/** The entity itself is the clusters subgraph's to tell. */
export function resolveNodeReference({ id }: { id: string }): NodeStub {
  return { id };
}
