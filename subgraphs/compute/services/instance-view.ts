import type { Instance } from "../entities/instance.ts";
import type { InstanceView } from "./instance-types.ts";

/** The instance as it is shown: in answers of both faces, and in events as it then was. */
export function instanceView(instance: Instance): InstanceView {
  return {
    id: instance.id,
    name: instance.name,
    type: instance.type,
    state: instance.state,
    desiredState: instance.desiredState,
    stateReason: instance.stateReason,
    errorMessage: instance.errorMessage,
    activity: instance.activity,
    managed: instance.managed,
    nodeId: instance.nodeId,
    generation: instance.generation,
    ipAddresses: instance.ipAddresses,
    startedAt: instance.startedAt?.toISOString() ?? null,
    exitCode: instance.exitCode,
    nativeId: instance.nativeId,
    spec: instance.spec,
    labels: instance.labels,
    annotations: instance.annotations,
    createdAt: instance.createdAt.toISOString(),
    updatedAt: instance.updatedAt.toISOString(),
    deletedAt: instance.deletedAt?.toISOString() ?? null,
  };
}
