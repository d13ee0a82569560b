import { Field, Int, ObjectType } from "type-graphql";
import { NodeStub } from "../node-stub.ts";
import { NodeOperationObject } from "./operation-object.ts";

@ObjectType("DisableNodePayload", { simpleResolvers: true })
export class DisableNodePayload {
  @Field(() => NodeStub, { nullable: true })
  node!: NodeStub | null;

  @Field(() => NodeOperationObject, { nullable: true, description: "Its events tell the end. Null where its instances stay." })
  operation!: NodeOperationObject | null;
}

@ObjectType("EnableNodePayload", { simpleResolvers: true })
export class EnableNodePayload {
  @Field(() => NodeStub, { nullable: true })
  node!: NodeStub | null;

  @Field(() => Int, {
    description: "Instances that an earlier operation stopped and that need nothing more: started, or left as others wanted them since.",
  })
  restoredInstances!: number;
}

@ObjectType("RebootNodePayload", { simpleResolvers: true })
export class RebootNodePayload {
  @Field(() => NodeStub, { nullable: true })
  node!: NodeStub | null;

  @Field(() => NodeOperationObject, { description: "Its events tell the end." })
  operation!: NodeOperationObject;
}

@ObjectType("ShutdownNodePayload", { simpleResolvers: true })
export class ShutdownNodePayload {
  @Field(() => NodeStub, { nullable: true })
  node!: NodeStub | null;

  @Field(() => NodeOperationObject, { description: "Its events tell the end." })
  operation!: NodeOperationObject;

  @Field(() => String, { description: "What it takes to switch the host on again, for people." })
  warning!: string;
}

@ObjectType("CancelNodeOperationPayload", { simpleResolvers: true })
export class CancelNodeOperationPayload {
  @Field(() => NodeOperationObject, { description: "Its events tell the end." })
  operation!: NodeOperationObject;
}
