import { DesiredState as ProtoDesired, InstanceType as ProtoType } from "../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { ApplyInstanceRequest } from "../../../schema/generated/proto/hypervisor/v1/instances.ts";
import type { Instance } from "../entities/instance.ts";
import type { DesiredState } from "./instance-types.ts";
import { specToMessage } from "./spec-message.ts";

/** What an agent is told an instance is to be. `secrets` has to be loaded. */
export function applyMessage(instance: Instance): ApplyInstanceRequest {
  return ApplyInstanceRequest.fromPartial({
    nodeId: instance.nodeId,
    instanceId: instance.id,
    generation: instance.generation,
    revision: instance.revision,
    name: instance.name,
    type: ProtoType[instance.type],
    spec: specToMessage(instance.spec, instance.secrets),
    metadata: { labels: instance.labels, annotations: instance.annotations },
    desiredState: ProtoDesired[instance.desiredState ?? "STOPPED"],
    force: instance.force,
    stopTimeoutSeconds: instance.stopTimeoutSeconds,
    restarts: instance.restarts,
    suspendToDisk: instance.suspendToDisk,
    madeBefore: instance.made,
    adoptNativeId: instance.adoptNativeId ?? "",
  });
}

/** Something of an instance that is on a host although it is not to be: what the agent needs to remove it. */
export interface Leftover {
  nodeId: string;
  instanceId: string;
  generation: number;
  revision: number;
  /** It runs elsewhere, perhaps on the same disks. */
  keepDisks: boolean;
}

export function removalMessage({ nodeId, instanceId, generation, revision, keepDisks }: Leftover): ApplyInstanceRequest {
  const desired: DesiredState = "DELETED";
  return ApplyInstanceRequest.fromPartial({
    nodeId,
    instanceId,
    generation,
    revision,
    desiredState: ProtoDesired[desired],
    force: true,
    madeBefore: true,
    keepDisks,
  });
}
