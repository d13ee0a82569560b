import { FleetError, invalidArgument } from "../../platform/errors/fleet-error.ts";
import { type GrpcService, grpcService } from "../../platform/grpc/server.ts";
import type { RequestContext } from "../../platform/request-context.ts";
import { type AttachDeviceRequest, DeviceAgentServiceDefinition } from "../../schema/generated/proto/hypervisor/v1/devices.ts";
import { checkDevice, checkPciAddress } from "../devices/host-device.ts";
import type { DeviceDriver } from "../drivers/device-driver.ts";
import type { InstanceDriver } from "../drivers/instance-driver.ts";
import type { NodeInstances } from "../instances/node-instances.ts";
import { ofOwnNode } from "./callers.ts";
import type { FindInstances } from "./instance-agent-service.ts";
import { checkInstanceId } from "./instance-requests.ts";

/** Devices of a node's host, given to its instances. `isAllowed`: by the agent's own configuration. Every call names its node. */
export function deviceAgentService(findInstances: FindInstances, isAllowed: boolean): GrpcService {
  const permitted = (fleet: RequestContext, nodeId: string): NodeInstances => {
    const instances = ofOwnNode(fleet, nodeId, findInstances);
    if (isAllowed) return instances;
    const message = "The agent's own configuration does not allow that devices are given away (allow.devices).";
    throw new FleetError("FAILED_PRECONDITION", message, { reason: "DevicesNotAllowed" });
  };
  return grpcService(DeviceAgentServiceDefinition, {
    async attachDevice(request, { fleet }) {
      const instances = permitted(fleet, request.nodeId);
      const device = checkDevice(request.device);
      checkInstance(request);
      const keeper = await instances.keeperOf(request.nodeId);
      return await keeper.exclusively(
        request,
        ({ driver, native: { nativeId } }) => ofDriver(driver).attach({ nativeId }, device, fleet.signal),
        fleet.signal,
      );
    },
    async detachDevice(request, { fleet }) {
      const instances = permitted(fleet, request.nodeId);
      const device = checkDevice(request.device);
      checkInstance(request);
      const keeper = await instances.keeperOf(request.nodeId);
      await keeper.exclusively(
        request,
        ({ driver, native: { nativeId } }) => ofDriver(driver).detach({ nativeId }, device, fleet.signal),
        fleet.signal,
      );
      return {};
    },
    async listAttachedDevices({ nodeId, instanceId }, { fleet }) {
      const instances = ofOwnNode(fleet, nodeId, findInstances);
      checkInstanceId("instance_id", instanceId);
      const keeper = await instances.keeperOf(nodeId);
      const { driver, native } = await keeper.find(instanceId, fleet.signal);
      return { devices: (await driver.devices?.list({ nativeId: native.nativeId }, fleet.signal)) ?? [] };
    },
    async setSriovVfs({ nodeId, pciAddress, count }, { fleet }) {
      const { drivers } = permitted(fleet, nodeId);
      const address = checkPciAddress("pci_address", pciAddress);
      const devices = drivers.find((driver) => driver.devices !== null)?.devices;
      if (devices == null) throw new FleetError("FAILED_PRECONDITION", "This host runs no VMs.", { reason: "NotSupported" });
      return { sriov: await devices.setSriovVfs(address, count, fleet.signal) };
    },
  });
}

function checkInstance({ instanceId, generation }: Pick<AttachDeviceRequest, "instanceId" | "generation">): void {
  checkInstanceId("instance_id", instanceId);
  if (!Number.isSafeInteger(generation) || generation < 1) throw invalidArgument("generation", "It is a number from 1 on.");
}

function ofDriver({ devices }: InstanceDriver): DeviceDriver {
  if (devices !== null) return devices;
  throw new FleetError("FAILED_PRECONDITION", "Devices are given to VMs only.", { reason: "InstanceTypeUnsupported" });
}
