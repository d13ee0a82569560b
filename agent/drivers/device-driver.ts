import type { AttachedDevice } from "../../schema/generated/proto/hypervisor/v1/devices.ts";
import type { Sriov } from "../../schema/generated/proto/hypervisor/v1/inventory.ts";
import type { HostDevice } from "../devices/host-device.ts";
import type { Ref } from "./instance-plan.ts";

/** Devices of the host, given to its instances. Errors as in devices.proto. */
export interface DeviceDriver {
  attach(ref: Ref, device: HostDevice, signal: AbortSignal): Promise<AttachedDevice>;
  detach(ref: Ref, device: HostDevice, signal: AbortSignal): Promise<void>;
  list(ref: Ref, signal: AbortSignal): Promise<AttachedDevice[]>;
  /** Here because only what runs the guests knows who has a virtual function. */
  setSriovVfs(pciAddress: string, count: number, signal: AbortSignal): Promise<Sriov>;
}
