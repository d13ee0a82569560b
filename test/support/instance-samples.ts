import type { NativeInstance } from "../../agent/drivers/instance-driver.ts";
import { DesiredState, InstanceType } from "../../schema/generated/proto/hypervisor/v1/compute.ts";
import { ApplyInstanceRequest } from "../../schema/generated/proto/hypervisor/v1/instances.ts";

export const INSTANCE = "inst-0000000000000001";
export const NODE = "node-1";

/** What a control plane says of a VM that is to run, but for what is given. */
export function desiredInstance(given: Partial<ApplyInstanceRequest> = {}): ApplyInstanceRequest {
  return ApplyInstanceRequest.fromPartial({
    nodeId: NODE,
    instanceId: INSTANCE,
    generation: 1,
    revision: 1,
    name: "web",
    type: InstanceType.VM,
    desiredState: DesiredState.RUNNING,
    ...given,
    spec: given.spec ?? { image: "tiny", cpuCores: 2, memoryBytes: 2 ** 30, disks: [{ name: "root", sizeBytes: 2 ** 30, boot: true }] },
  });
}

/** What a driver finds of it, running, but for what is given. */
export function nativeInstance(given: Partial<NativeInstance> = {}): NativeInstance {
  return {
    nativeId: "native-1",
    mark: { instanceId: INSTANCE, nodeId: NODE, generation: 1 },
    name: INSTANCE,
    type: InstanceType.VM,
    state: "RUNNING",
    reason: "STARTED",
    message: "",
    exitCode: null,
    startedAt: null,
    cpuCores: 2,
    memoryBytes: 2 ** 30,
    ipAddresses: [],
    ...given,
  };
}
