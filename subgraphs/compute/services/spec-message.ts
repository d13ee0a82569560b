import {
  NetworkInterfaceSpec,
  Firmware as ProtoFirmware,
  NetworkSpec as ProtoNetwork,
  InstanceSpec as ProtoSpec,
} from "../../../schema/generated/proto/hypervisor/v1/compute.ts";
import type { InstanceSecrets, InstanceSpec, InterfaceSpec, NetworkSpec } from "./instance-types.ts";

/** A spec in the contract's form. Without `secrets` it has neither variables nor user data. */
export function specToMessage(spec: InstanceSpec, secrets: InstanceSecrets | null): ProtoSpec {
  const { network, cloudInit } = spec;
  return ProtoSpec.fromPartial({
    image: spec.image ?? "",
    cpuCores: spec.cpuCores,
    memoryBytes: spec.memoryBytes,
    disks: spec.disks.map((disk) => ({ ...disk, type: disk.type ?? "" })),
    network: networkToMessage(network),
    kernel: spec.kernel ?? "",
    command: spec.command,
    env: secrets?.env ?? {},
    initrd: spec.initrd ?? "",
    kernelArgs: spec.kernelArgs ?? "",
    args: spec.args,
    volumeMounts: spec.volumeMounts,
    // Events of earlier versions have neither.
    volumes: spec.volumes ?? [],
    interfaces: (spec.interfaces ?? []).map(interfaceToMessage),
    limits: spec.limits ?? undefined,
    firmware: ProtoFirmware[spec.firmware],
    cloudInit: cloudInit ? { sshAuthorizedKeys: cloudInit.sshAuthorizedKeys, userData: secrets?.userData ?? "" } : undefined,
  });
}

export function interfaceToMessage({ name, network }: InterfaceSpec): NetworkInterfaceSpec {
  return NetworkInterfaceSpec.fromPartial({ name, network: networkToMessage(network) });
}

function networkToMessage(network: NetworkSpec): ProtoNetwork {
  return ProtoNetwork.fromPartial({ ...network, subnetId: network.subnetId ?? "" });
}
