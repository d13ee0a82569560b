import { Arg, Ctx, Mutation, Resolver } from "type-graphql";
import { sriovView } from "../../services/inventory/views/pci-view.ts";
import type { NodesContext } from "../nodes-context.ts";
import { AttachDeviceInput, DetachDeviceInput, ReleaseDeviceInput, ReserveDeviceInput, SetSriovVfsInput } from "./device-inputs.ts";
import {
  AttachDevicePayload,
  DetachDevicePayload,
  ReleaseDevicePayload,
  ReserveDevicePayload,
  SetSriovVfsPayload,
  toInstanceDevice,
} from "./device-objects.ts";

@Resolver()
export class DeviceMutationsResolver {
  @Mutation(() => AttachDevicePayload, {
    description:
      "Gives a device of its host to a VM, running or not. It is taken from the host's driver, with the rest of its IOMMU group, and stays with the instance until it is detached. Does nothing where the instance has it. NOT_FOUND; FAILED_PRECONDITION with the reason InUse, DeviceReserved, those of `passthrough` (NoIommu, RootDisk, DiskInUse, HostNetwork, SharedGroup, …), DevicesNotAllowed, InstanceTypeUnsupported, NoUsbController, NoFreeSlot or NoShell. UNAVAILABLE where the node's agent does not answer: repeat it. Rights: operator.",
  })
  async attachDevice(
    @Arg("input", () => AttachDeviceInput) input: AttachDeviceInput,
    @Ctx() { request, services }: NodesContext,
  ): Promise<AttachDevicePayload> {
    const device = await services.devices.requests.attach(request, input);
    return { instance: { id: input.instanceId }, device: toInstanceDevice(device) };
  }

  @Mutation(() => DetachDevicePayload, {
    description:
      "Takes a device from an instance and gives it back to the driver that it had on the host. Does nothing where the instance does not have it. FAILED_PRECONDITION (reason DeviceBusy: the running guest does not let go of it; DevicesNotAllowed); UNAVAILABLE (reason DriverNotRestored, or the node's agent does not answer): repeat it. Rights: operator.",
  })
  async detachDevice(
    @Arg("input", () => DetachDeviceInput) input: DetachDeviceInput,
    @Ctx() { request, services }: NodesContext,
  ): Promise<DetachDevicePayload> {
    await services.devices.requests.detach(request, input);
    return { instance: { id: input.instanceId } };
  }

  @Mutation(() => SetSriovVfsPayload, {
    description:
      "Sets how many virtual functions a PCI device has. To go from one number to another, all are removed first: none of them may be an instance's or needed by the host. They are gone after a boot of the host; those of an instance come back with its start. FAILED_PRECONDITION with the reason InUse, DeviceReserved, NotSupported, KernelRefused, NoShell, NoPermission or DevicesNotAllowed. Rights: operator.",
  })
  async setSriovVfs(
    @Arg("input", () => SetSriovVfsInput) input: SetSriovVfsInput,
    @Ctx() { request, services }: NodesContext,
  ): Promise<SetSriovVfsPayload> {
    const sriov = await services.devices.requests.setVfs(request, input);
    return { node: { id: input.nodeId }, sriov: sriovView(sriov) };
  }

  @Mutation(() => ReserveDevicePayload, {
    description:
      "Keeps a device for the caller: only they and admins may attach it from then on. Whoever has reserved it may change the note. FAILED_PRECONDITION (reason DeviceReserved). Rights: operator.",
  })
  async reserveDevice(
    @Arg("input", () => ReserveDeviceInput) input: ReserveDeviceInput,
    @Ctx() { request, services }: NodesContext,
  ): Promise<ReserveDevicePayload> {
    const reservation = await services.devices.requests.reserve(request, input);
    return { node: { id: input.nodeId }, reservation };
  }

  @Mutation(() => ReleaseDevicePayload, {
    description: "Ends a reservation: the caller's own, or any by an admin. FAILED_PRECONDITION (reason DeviceReserved). Rights: operator.",
  })
  async releaseDevice(
    @Arg("input", () => ReleaseDeviceInput) input: ReleaseDeviceInput,
    @Ctx() { request, services }: NodesContext,
  ): Promise<ReleaseDevicePayload> {
    const released = await services.devices.requests.release(request, input);
    return { node: { id: input.nodeId }, released };
  }
}
