import type { AttachedVolume, NetworkInterfaceSpec } from "../../schema/generated/proto/hypervisor/v1/compute.ts";
import type {
  CreatePoolRequest,
  CreateVolumeRequest,
  NodePool,
  NodeVolume,
  PluggedDevice,
} from "../../schema/generated/proto/hypervisor/v1/storage.ts";
import type { Ref } from "./instance-plan.ts";

export interface VolumeName {
  pool: string;
  name: string;
}

/** Storage pools, volumes, and what is plugged into instances. Errors as in storage.proto. */
export interface StorageDriver {
  listPools(signal: AbortSignal): Promise<NodePool[]>;
  createPool(request: CreatePoolRequest, signal: AbortSignal): Promise<NodePool>;
  deletePool(name: string, withVolumes: boolean, signal: AbortSignal): Promise<void>;
  /** `pool` empty: of all. */
  listVolumes(pool: string, signal: AbortSignal): Promise<NodeVolume[]>;
  createVolume(request: CreateVolumeRequest, signal: AbortSignal): Promise<NodeVolume>;
  resizeVolume(volume: VolumeName, capacityBytes: number, signal: AbortSignal): Promise<NodeVolume>;
  deleteVolume(volume: VolumeName, signal: AbortSignal): Promise<void>;
  plug(
    ref: Ref,
    volumes: readonly AttachedVolume[],
    interfaces: readonly NetworkInterfaceSpec[],
    signal: AbortSignal,
  ): Promise<PluggedDevice[]>;
}
