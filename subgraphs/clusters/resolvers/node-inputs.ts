import { Field, ID, InputType, Int } from "type-graphql";
import { DateTime, Int64 } from "../../kit/graphql/scalars.ts";
import { KeyValueInput } from "../../kit/graphql/shared-types.ts";
import type { NodeAvailability, NodeKind, NodeRole, NodeStatus } from "../services/node-types.ts";
import { NodeAvailabilityEnum, NodeCommandTypeEnum, NodeKindEnum, NodeRoleEnum, NodeStatusEnum } from "./enums.ts";

@InputType("NodeFilter", { description: "What is null or left out does not filter." })
export class NodeFilterInput {
  @Field(() => NodeRoleEnum, { nullable: true })
  role?: NodeRole | null;

  @Field(() => NodeStatusEnum, { nullable: true })
  status?: NodeStatus | null;

  @Field(() => NodeKindEnum, { nullable: true })
  kind?: NodeKind | null;

  @Field(() => NodeAvailabilityEnum, { nullable: true })
  availability?: NodeAvailability | null;

  @Field(() => String, { nullable: true })
  region?: string | null;

  @Field(() => String, { nullable: true })
  zone?: string | null;

  @Field(() => String, { nullable: true, description: "A part of the hostname, upper and lower case alike." })
  name?: string | null;

  @Field(() => Boolean, { nullable: true, description: "True: only deregistered nodes, which are left out otherwise. Not for nodeEvents." })
  deregistered?: boolean | null;
}

@InputType("ResourcesInput")
export class ResourcesInput {
  @Field(() => Int, { description: "Logical CPUs." })
  cpuCores!: number;

  @Field(() => Int64)
  memoryBytes!: number;

  @Field(() => Int64, { nullable: true, description: "0 where left out." })
  diskBytes?: number | null;

  @Field(() => Int, { nullable: true, description: "0 where left out." })
  gpuCount?: number | null;
}

@InputType("NodeConditionInput")
export class NodeConditionInput {
  @Field(() => String, { description: "One word, such as DiskPressure." })
  type!: string;

  @Field(() => String, { description: "True, False or Unknown." })
  status!: string;

  @Field(() => String, { nullable: true })
  reason?: string | null;

  @Field(() => String, { nullable: true })
  message?: string | null;
}

@InputType("RegisterNodeInput")
export class RegisterNodeInput {
  @Field(() => String, { description: "RFC 1123; upper case is taken as lower case." })
  hostname!: string;

  @Field(() => String, { description: "IPv4 or IPv6." })
  ip!: string;

  @Field(() => Int, { description: "1–65535." })
  port!: number;

  @Field(() => NodeRoleEnum)
  role!: NodeRole;

  @Field(() => NodeKindEnum, { nullable: true, description: "COMPUTE where left out." })
  kind?: NodeKind | null;

  @Field(() => String, { nullable: true })
  region?: string | null;

  @Field(() => String, { nullable: true })
  zone?: string | null;

  @Field(() => ResourcesInput)
  capacity!: ResourcesInput;

  @Field(() => [String], { description: '"vm", "container", "microvm".' })
  supportedInstanceTypes!: string[];

  @Field(() => [KeyValueInput], { nullable: true, description: "Left out: a node that exists keeps its labels." })
  labels?: KeyValueInput[] | null;

  @Field(() => [KeyValueInput], { nullable: true, description: "Left out: a node that exists keeps its annotations." })
  annotations?: KeyValueInput[] | null;

  @Field(() => Boolean, { nullable: true })
  simulated?: boolean | null;

  @Field(() => ID, { nullable: true, description: "The id that this host had before, so that it keeps it." })
  nodeId?: string | null;

  @Field(() => String, {
    nullable: true,
    description: "Up to 128 characters. A call with one that was used before answers with the node that it made, and changes nothing.",
  })
  clientRequestId?: string | null;
}

@InputType("UpdateNodeInput", { description: "What is left out stays as it is, null clears." })
export class UpdateNodeInput {
  @Field(() => ID)
  nodeId!: string;

  @Field(() => String, { nullable: true })
  region?: string | null;

  @Field(() => String, { nullable: true })
  zone?: string | null;

  @Field(() => [KeyValueInput], { nullable: true, description: "Replaces all of them." })
  labels?: KeyValueInput[] | null;

  @Field(() => [KeyValueInput], { nullable: true, description: "Replaces all of them." })
  annotations?: KeyValueInput[] | null;
}

@InputType("DeregisterNodeInput")
export class DeregisterNodeInput {
  @Field(() => ID)
  nodeId!: string;
}

@InputType("AdmitNodeInput")
export class AdmitNodeInput {
  @Field(() => ID)
  nodeId!: string;
}

@InputType("UpdateNodeStatusInput")
export class UpdateNodeStatusInput {
  @Field(() => ID)
  nodeId!: string;

  @Field(() => NodeStatusEnum, { description: "Holds until a heartbeat reports another status than the heartbeat before it." })
  status!: NodeStatus;

  @Field(() => [NodeConditionInput], { nullable: true, description: "Each replaces the node's condition of its type; the others stay." })
  conditions?: NodeConditionInput[] | null;
}

@InputType("HeartbeatInput")
export class HeartbeatInput {
  @Field(() => ID)
  nodeId!: string;

  @Field(() => NodeStatusEnum)
  status!: NodeStatus;

  @Field(() => [NodeConditionInput], { nullable: true, description: "Left out or empty: as before." })
  conditions?: NodeConditionInput[] | null;

  @Field(() => ResourcesInput, { nullable: true, description: "Left out: as before." })
  allocated?: ResourcesInput | null;

  @Field(() => [ID], { nullable: true, description: "Commands that were carried out, or were known already." })
  acknowledgedCommandIds?: string[] | null;

  @Field(() => DateTime, { nullable: true, description: "The sender's clock, from which the receiver tells the skew." })
  sentAt?: Date | null;
}

@InputType("SendNodeCommandInput")
export class SendNodeCommandInput {
  @Field(() => ID)
  nodeId!: string;

  @Field(() => NodeCommandTypeEnum)
  type!: string;

  @Field(() => [KeyValueInput], { nullable: true })
  parameters?: KeyValueInput[] | null;
}
