import {
  type NodeEvent,
  NodeAvailability as ProtoAvailability,
  NodeKind as ProtoKind,
  type Node as ProtoNode,
  NodeRole as ProtoRole,
  NodeStatus as ProtoStatus,
} from "../../../schema/generated/proto/hypervisor/v1/cluster.ts";
import type {
  NodeCondition,
  Metadata as ProtoMetadata,
  Resources as ProtoResources,
} from "../../../schema/generated/proto/hypervisor/v1/common.ts";
import { EventType } from "../../../schema/generated/proto/hypervisor/v1/common.ts";
import type { LogEvent } from "../../kit/events/event.ts";
import type { RawCondition, RawNodeFilter } from "../services/node-input.ts";
import type { Condition, NodeView } from "../services/node-types.ts";

/** A seed's enum without its prefix; UNSPECIFIED is null. A number that the contract does not know stays UNRECOGNIZED, for the checks to refuse. */
export function enumName(value: ProtoRole | ProtoStatus | ProtoKind | ProtoAvailability): string | null {
  const name = value.replace(/^NODE_(ROLE|STATUS|KIND|AVAILABILITY)_/, "");
  return name === "UNSPECIFIED" ? null : name;
}

/** Empty text is no text. */
export function textOrNull(text: string): string | null {
  return text === "" ? null : text;
}

export function filterFromMessage(
  message: { role: ProtoRole; status: ProtoStatus; kind: ProtoKind; availability: ProtoAvailability } & Record<
    "region" | "zone" | "name",
    string
  >,
  deregistered = false,
): RawNodeFilter {
  const { region, zone, name } = message;
  return {
    role: enumName(message.role),
    status: enumName(message.status),
    kind: enumName(message.kind),
    availability: enumName(message.availability),
    region,
    zone,
    name,
    deregistered,
  };
}

export function conditionFromMessage({ type, status, reason, message }: NodeCondition): RawCondition {
  return { type, status, reason, message };
}

/** A node as the log and the services show it, in the contract's form. */
export function nodeToMessage(node: NodeView): ProtoNode {
  return {
    id: node.id,
    hostname: node.hostname,
    ip: node.ip ?? "",
    port: node.port ?? 0,
    role: node.role === null ? ProtoRole.UNSPECIFIED : ProtoRole[node.role],
    status: ProtoStatus[node.status],
    region: node.region ?? "",
    zone: node.zone ?? "",
    capacity: resourcesToMessage(node.capacity),
    allocatable: resourcesToMessage(node.allocatable),
    allocated: resourcesToMessage(node.allocated),
    supportedInstanceTypes: node.supportedInstanceTypes,
    conditions: node.conditions.map(conditionToMessage),
    metadata: metadataToMessage(node),
    createdAt: new Date(node.createdAt),
    lastSeen: node.lastSeen === null ? undefined : new Date(node.lastSeen),
    kind: ProtoKind[node.kind],
    availability: ProtoAvailability[node.availability],
    maintenance: node.maintenance,
    agentId: node.agentId ?? "",
    simulated: node.simulated,
    uri: node.uri ?? "",
    deregistered: node.deregistered,
    updatedAt: new Date(node.updatedAt),
    maintenanceReason: node.maintenanceReason ?? "",
    maintenanceSince: node.maintenanceSince === null ? undefined : new Date(node.maintenanceSince),
  };
}

export function eventToMessage(event: LogEvent<NodeView>): NodeEvent {
  return {
    eventType: EventType[event.type],
    node: event.object === null ? undefined : nodeToMessage(event.object),
    timestamp: event.timestamp,
    cursor: event.cursor,
  };
}

function conditionToMessage({ lastTransitionTime, ...condition }: Condition): NodeCondition {
  return { ...condition, lastTransitionTime: new Date(lastTransitionTime) };
}

function metadataToMessage({ labels, annotations }: NodeView): ProtoMetadata {
  return { labels, annotations };
}

function resourcesToMessage(resources: NodeView["capacity"]): ProtoResources | undefined {
  return resources ?? undefined;
}
