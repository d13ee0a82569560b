import "reflect-metadata";
import { Directive, Field, ID, ObjectType } from "type-graphql";

/** The instance, which the compute subgraph owns; this only stands for it. */
@ObjectType("Instance", { simpleResolvers: true })
@Directive('@key(fields: "id")')
export class InstanceStub {
  @Field(() => ID)
  id!: string;
}

/** The entity itself is the compute subgraph's to tell. */
export function resolveInstanceReference({ id }: { id: string }): InstanceStub {
  return { id };
}
