import { Directive, Field, ID, Int, ObjectType } from "type-graphql";
import { connectionType } from "../../kit/graphql/connection.ts";
import { toKeyValues } from "../../kit/graphql/key-values.ts";
import { DateTime, Int64 } from "../../kit/graphql/scalars.ts";
import { KeyValue, WatchEventFields } from "../../kit/graphql/shared-types.ts";
import { type ConnectionState, nodeConnection } from "../services/node-connection.ts";
import type { NodeAvailability, NodeKind, NodeRole, NodeStatus, NodeView } from "../services/node-types.ts";
import { HostConnectionStateEnum, NodeAvailabilityEnum, NodeKindEnum, NodeRoleEnum, NodeStatusEnum } from "./enums.ts";

@ObjectType("Resources", { description: "What a node has, may hand out, or has handed out.", simpleResolvers: true })
export class ResourcesType {
  @Field(() => Int, { description: "Logical CPUs." })
  cpuCores!: number;

  @Field(() => Int64)
  memoryBytes!: number;

  @Field(() => Int64)
  diskBytes!: number;

  @Field(() => Int, { description: "Devices, of any vendor." })
  gpuCount!: number;
}

@ObjectType("NodeCondition", { description: "One aspect of a node's health.", simpleResolvers: true })
export class NodeConditionType {
  @Field(() => String, { description: "Ready, DiskPressure, MemoryPressure, NetworkUnavailable, ClockSkew or the agent's own." })
  type!: string;

  @Field(() => String, { description: "True, False or Unknown." })
  status!: string;

  @Field(() => String, { description: "One word in CamelCase, for programs." })
  reason!: string;

  @Field(() => String, { description: "A sentence, for people." })
  message!: string;

  @Field(() => DateTime, { description: "When the status last changed, by the control plane's clock." })
  lastTransitionTime!: string;
}

@ObjectType("HostConnection", { description: "How the control plane is connected with a host.", simpleResolvers: true })
export class HostConnectionType {
  @Field(() => HostConnectionStateEnum)
  state!: ConnectionState;

  @Field(() => DateTime, {
    nullable: true,
    description:
      "When the host itself was last heard of, by the control plane's clock; null before the first time. Of a host that is not reached: when that began.",
  })
  lastContactAt!: string | null;

  @Field(() => String, { nullable: true, description: "Why it is not connected, in a sentence; null while it is." })
  lastError!: string | null;

  @Field(() => Boolean, { description: "Added by URI: the agent of another machine stands for it." })
  bridged!: boolean;
}

@ObjectType("Node", { description: "A host of the fleet. (Not Relay's interface.)", simpleResolvers: true })
@Directive('@key(fields: "id")')
export class NodeType {
  @Field(() => ID)
  id!: string;

  @Field(() => String, { description: "Unique among nodes, in lower case." })
  hostname!: string;

  @Field(() => String, { nullable: true, description: "IPv4 or IPv6: where its agent is reached." })
  ip!: string | null;

  @Field(() => Int, { nullable: true, description: "The port of its agent's gRPC service." })
  port!: number | null;

  @Field(() => NodeRoleEnum, { nullable: true })
  role!: NodeRole | null;

  @Field(() => NodeStatusEnum)
  status!: NodeStatus;

  @Field(() => NodeKindEnum)
  kind!: NodeKind;

  @Field(() => NodeAvailabilityEnum)
  availability!: NodeAvailability;

  @Field(() => Boolean, { description: "The operator's intent: no new instances here." })
  maintenance!: boolean;

  @Field(() => String, { nullable: true, description: "Why it is in maintenance, as whoever began it said; null where nothing was said." })
  maintenanceReason!: string | null;

  @Field(() => DateTime, { nullable: true, description: "Since when it is in maintenance; null while it is not." })
  maintenanceSince!: string | null;

  @Field(() => HostConnectionType)
  connection!: HostConnectionType;

  @Field(() => String, { nullable: true })
  region!: string | null;

  @Field(() => String, { nullable: true })
  zone!: string | null;

  @Field(() => ResourcesType, { nullable: true, description: "What the host has, as its agent reported it." })
  capacity!: ResourcesType | null;

  @Field(() => ResourcesType, { nullable: true, description: "What may be handed out: capacity × overcommit − the host's own reserve." })
  allocatable!: ResourcesType | null;

  @Field(() => ResourcesType, { nullable: true, description: "As the last heartbeat reported it; null before the first that does." })
  allocated!: ResourcesType | null;

  @Field(() => [String], { description: '"vm", "container", "microvm".' })
  supportedInstanceTypes!: string[];

  @Field(() => [NodeConditionType], { description: "Ready first, the others by type." })
  conditions!: NodeConditionType[];

  @Field(() => [KeyValue])
  labels!: KeyValue[];

  @Field(() => [KeyValue])
  annotations!: KeyValue[];

  @Field(() => String, { nullable: true, description: "The libvirt URI of a node that was added by URI." })
  uri!: string | null;

  @Field(() => Boolean, { description: "No real host: its traffic is made by `fleetgraph simulate`." })
  simulated!: boolean;

  @Field(() => Boolean, { description: "Taken out of service: in no list, and its agent is refused until an admin admits it again." })
  deregistered!: boolean;

  @Field(() => ID, {
    nullable: true,
    description: "The identity (certificate) that reports the node; null where it was registered by hand.",
  })
  agentId!: string | null;

  @Field(() => DateTime)
  createdAt!: string;

  @Field(() => DateTime, { description: "The last change that became an event." })
  updatedAt!: string;

  @Field(() => DateTime, {
    nullable: true,
    description: "The last heartbeat, by the control plane's clock, at most a few seconds late; null before the first.",
  })
  lastSeen!: string | null;
}

export const NodeConnection = connectionType(NodeType, "Node");

@ObjectType("NodeEvent", { description: "What happened to a node.", simpleResolvers: true })
export class NodeEventType extends WatchEventFields {
  @Field(() => NodeType, { nullable: true, description: "As it was after the event; its last state on DELETED, null on BOOKMARK." })
  node!: NodeType | null;
}

@ObjectType("NodeStatusCount", { simpleResolvers: true })
export class NodeStatusCountType {
  @Field(() => NodeStatusEnum)
  status!: NodeStatus;

  @Field(() => Int)
  count!: number;
}

@ObjectType("ClusterInfo", { description: "The fleet as a whole. Deregistered nodes count nowhere.", simpleResolvers: true })
export class ClusterInfoType {
  @Field(() => String, { description: "As configured (cluster.name)." })
  clusterName!: string;

  @Field(() => Int, { description: "Nodes of every status." })
  totalNodes!: number;

  @Field(() => Int, { description: "Nodes whose status is READY, in maintenance or not." })
  readyNodes!: number;

  @Field(() => [NodeStatusCountType], { description: "totalNodes by status; each status occurs." })
  nodesByStatus!: NodeStatusCountType[];

  @Field(() => ResourcesType, { description: "The sum over nodes of every status." })
  totalCapacity!: ResourcesType;

  @Field(() => ResourcesType, { description: "The sum of what nodes of every status last reported." })
  totalAllocated!: ResourcesType;

  @Field(() => Boolean, {
    description:
      "Over 30 % of the nodes that were alive were lost within the last minute: the fault may lie here or in the network, and nothing automatic is done about them.",
  })
  massExpiry!: boolean;

  @Field(() => Int, { description: "Seconds without a heartbeat after which a node is UNKNOWN." })
  leaseTtlSeconds!: number;
}

/** A node as GraphQL shows it: maps as lists. */
export function toNodeType(node: NodeView): NodeType {
  return { ...node, labels: toKeyValues(node.labels), annotations: toKeyValues(node.annotations), connection: nodeConnection(node) };
}
