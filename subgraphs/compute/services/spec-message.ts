import { Firmware as ProtoFirmware, InstanceSpec as ProtoSpec } from "../../../schema/generated/proto/hypervisor/v1/compute.ts";
import type { InstanceSecrets, InstanceSpec } from "./instance-types.ts";

/** A spec in the contract's form. Without `secrets` it has neither variables nor user data. */
export function specToMessage(spec: InstanceSpec, secrets: InstanceSecrets | null): ProtoSpec {
  const { network, cloudInit } = spec;
  return ProtoSpec.fromPartial({
    image: spec.image ?? "",
    cpuCores: spec.cpuCores,
    memoryBytes: spec.memoryBytes,
    disks: spec.disks.map((disk) => ({ ...disk, type: disk.type ?? "" })),
    network: { ...network, subnetId: network.subnetId ?? "" },
    kernel: spec.kernel ?? "",
    command: spec.command,
    env: secrets?.env ?? {},
    initrd: spec.initrd ?? "",
    kernelArgs: spec.kernelArgs ?? "",
    args: spec.args,
    volumeMounts: spec.volumeMounts,
    limits: spec.limits ?? undefined,
    firmware: ProtoFirmware[spec.firmware],
    cloudInit: cloudInit ? { sshAuthorizedKeys: cloudInit.sshAuthorizedKeys, userData: secrets?.userData ?? "" } : undefined,
  });
}
