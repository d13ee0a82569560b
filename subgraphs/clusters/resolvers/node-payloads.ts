import { Field, ID, Int, ObjectType } from "type-graphql";
import { DateTime } from "../../kit/graphql/scalars.ts";
import { KeyValue } from "../../kit/graphql/shared-types.ts";
import { NodeCommandTypeEnum } from "./enums.ts";
import { NodeType } from "./node-type.ts";

@ObjectType("RegisterNodePayload", { simpleResolvers: true })
export class RegisterNodePayload {
  @Field(() => NodeType)
  node!: NodeType;

  @Field(() => Int)
  heartbeatIntervalSeconds!: number;

  @Field(() => Int, { description: "Seconds without a heartbeat after which the node is UNKNOWN." })
  leaseTtlSeconds!: number;
}

@ObjectType("UpdateNodePayload", { simpleResolvers: true })
export class UpdateNodePayload {
  @Field(() => NodeType)
  node!: NodeType;
}

@ObjectType("DeregisterNodePayload", { simpleResolvers: true })
export class DeregisterNodePayload {
  @Field(() => NodeType, { description: "Its last state." })
  node!: NodeType;
}

@ObjectType("AdmitNodePayload", { simpleResolvers: true })
export class AdmitNodePayload {
  @Field(() => NodeType, { description: "PENDING until its agent reports." })
  node!: NodeType;
}

@ObjectType("UpdateNodeStatusPayload", { simpleResolvers: true })
export class UpdateNodeStatusPayload {
  @Field(() => NodeType)
  node!: NodeType;
}

@ObjectType("NodeCommand", { description: "What an agent is told to do, once.", simpleResolvers: true })
export class NodeCommandType {
  @Field(() => ID)
  id!: string;

  @Field(() => NodeCommandTypeEnum)
  type!: string;

  @Field(() => [KeyValue])
  parameters!: KeyValue[];
}

@ObjectType("HeartbeatPayload", { simpleResolvers: true })
export class HeartbeatPayload {
  @Field(() => Boolean, { description: "False: this node is not known; register it again." })
  accepted!: boolean;

  @Field(() => Int)
  nextHeartbeatSeconds!: number;

  @Field(() => [NodeCommandType], { description: "Repeated with each answer until acknowledged." })
  commands!: NodeCommandType[];

  @Field(() => DateTime, { description: "The receiver's clock." })
  receivedAt!: Date;
}

@ObjectType("SendNodeCommandPayload", { simpleResolvers: true })
export class SendNodeCommandPayload {
  @Field(() => NodeCommandType)
  command!: NodeCommandType;
}
