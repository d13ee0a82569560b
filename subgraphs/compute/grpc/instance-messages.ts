import { EventType } from "../../../schema/generated/proto/hypervisor/v1/common.ts";
import {
  type CreateInstanceRequest,
  type InstanceEvent,
  type ListInstancesRequest,
  DesiredState as ProtoDesired,
  type Firmware as ProtoFirmware,
  type Instance as ProtoInstance,
  type InstanceSpec as ProtoSpec,
  InstanceState as ProtoState,
  type PlacementStrategy as ProtoStrategy,
  InstanceType as ProtoType,
  type WatchInstanceRequest,
} from "../../../schema/generated/proto/hypervisor/v1/compute.ts";
import type { LogEvent } from "../../kit/events/event.ts";
import type { RawCreation, RawFilter } from "../services/instance-input.ts";
import type { InstanceSecrets, InstanceView } from "../services/instance-types.ts";
import type { RawSpec } from "../services/spec-input.ts";
import { specToMessage } from "../services/spec-message.ts";

/** A seed's enum without its prefix; UNSPECIFIED is null. A number that the contract does not know stays UNRECOGNIZED, for the checks to refuse. */
export function enumName(value: ProtoType | ProtoState | ProtoFirmware | ProtoStrategy): string | null {
  const name = value.replace(/^(INSTANCE_TYPE|INSTANCE_STATE|FIRMWARE|PLACEMENT_STRATEGY)_/, "");
  return name === "UNSPECIFIED" ? null : name;
}

/** Empty text is no text. */
export function textOrNull(text: string): string | null {
  return text === "" ? null : text;
}

export function creationFromMessage({ metadata, placementStrategy, ...request }: CreateInstanceRequest): RawCreation {
  return {
    ...request,
    type: enumName(request.type),
    spec: request.spec ? specFromMessage(request.spec) : null,
    labels: metadata?.labels ?? null,
    annotations: metadata?.annotations ?? null,
    placementStrategy: enumName(placementStrategy),
  };
}

function specFromMessage(spec: ProtoSpec): RawSpec {
  return {
    ...spec,
    network: spec.network ?? null,
    limits: spec.limits ?? null,
    firmware: enumName(spec.firmware),
    cloudInit: spec.cloudInit ?? null,
  };
}

export function filterFromMessage(
  { type, state, nodeId, name, labels, managed }: Omit<ListInstancesRequest, "pageSize" | "pageToken" | "includeDeleted">,
  more: Pick<RawFilter, "ids" | "includeDeleted">,
): RawFilter {
  return { type: enumName(type), state: enumName(state), nodeId, name, labels, managed, ...more };
}

export function watchFilter(request: WatchInstanceRequest): RawFilter {
  return filterFromMessage(request, { ids: request.instanceId === "" ? [] : [request.instanceId] });
}

/** An instance as the log and the services show it, in the contract's form. Without `secrets` it has neither variables nor user data. */
export function instanceToMessage(instance: InstanceView, secrets: InstanceSecrets | null): ProtoInstance {
  const date = (text: string | null) => (text === null ? undefined : new Date(text));
  return {
    id: instance.id,
    name: instance.name,
    type: ProtoType[instance.type],
    state: ProtoState[instance.state],
    spec: specToMessage(instance.spec, secrets),
    nodeId: instance.nodeId,
    ipAddress: instance.ipAddresses[0] ?? "",
    metadata: { labels: instance.labels, annotations: instance.annotations },
    errorMessage: instance.errorMessage ?? "",
    createdAt: new Date(instance.createdAt),
    updatedAt: new Date(instance.updatedAt),
    desiredState: ProtoDesired[instance.desiredState ?? "UNSPECIFIED"],
    stateReason: instance.stateReason ?? "",
    managed: instance.managed,
    generation: instance.generation,
    ipAddresses: instance.ipAddresses,
    startedAt: date(instance.startedAt),
    exitCode: instance.exitCode ?? undefined,
    activity: instance.activity ?? "",
    deletedAt: date(instance.deletedAt),
    nativeId: instance.nativeId ?? "",
  };
}

/** Events carry no secrets, whoever watches. */
export function eventToMessage(event: LogEvent<InstanceView>): InstanceEvent {
  return {
    eventType: EventType[event.type],
    instance: event.object === null ? undefined : instanceToMessage(event.object, null),
    timestamp: event.timestamp,
    cursor: event.cursor,
  };
}
