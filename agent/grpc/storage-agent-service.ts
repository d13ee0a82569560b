import { FleetError } from "../../platform/errors/fleet-error.ts";
import { type GrpcService, grpcService } from "../../platform/grpc/server.ts";
import type { RequestContext } from "../../platform/request-context.ts";
import { StorageAgentServiceDefinition } from "../../schema/generated/proto/hypervisor/v1/storage.ts";
import type { StorageDriver } from "../drivers/storage-driver.ts";
import { ofOwnNode } from "./callers.ts";
import type { FindInstances } from "./instance-agent-service.ts";
import { checkBytes, checkCreatePool, checkCreateVolume, checkName, checkPlug, checkVolume } from "./storage-requests.ts";

/** Storage pools, volumes, and what is plugged into instances. Every call names its node. */
export function storageAgentService(findInstances: FindInstances): GrpcService {
  const driverOf = (fleet: RequestContext, nodeId: string): StorageDriver => {
    const { drivers } = ofOwnNode(fleet, nodeId, findInstances);
    const driver = drivers.find(({ storage }) => storage !== null)?.storage;
    if (driver == null) throw unsupported("This host has no storage pools: it runs no VMs.");
    return driver;
  };
  return grpcService(StorageAgentServiceDefinition, {
    async listPools({ nodeId }, { fleet }) {
      return { pools: await driverOf(fleet, nodeId).listPools(fleet.signal) };
    },
    async createPool(request, { fleet }) {
      const driver = driverOf(fleet, request.nodeId);
      checkCreatePool(request);
      return await driver.createPool(request, fleet.signal);
    },
    async deletePool({ nodeId, name, withVolumes }, { fleet }) {
      const driver = driverOf(fleet, nodeId);
      checkName("name", name);
      await driver.deletePool(name, withVolumes, fleet.signal);
      return {};
    },
    async listVolumes({ nodeId, pool }, { fleet }) {
      return { volumes: await driverOf(fleet, nodeId).listVolumes(pool, fleet.signal) };
    },
    async createVolume(request, { fleet }) {
      const driver = driverOf(fleet, request.nodeId);
      checkCreateVolume(request);
      return await driver.createVolume(request, fleet.signal);
    },
    async resizeVolume(request, { fleet }) {
      const driver = driverOf(fleet, request.nodeId);
      checkVolume(request);
      checkBytes(request);
      return await driver.resizeVolume(request, request.capacityBytes, fleet.signal);
    },
    async deleteVolume(request, { fleet }) {
      const driver = driverOf(fleet, request.nodeId);
      checkVolume(request);
      await driver.deleteVolume(request, fleet.signal);
      return {};
    },
    async plugDevices(request, { fleet }) {
      const instances = ofOwnNode(fleet, request.nodeId, findInstances);
      checkPlug(request);
      const { volumes, interfaces } = request;
      const keeper = await instances.keeperOf(request.nodeId);
      const devices = await keeper.exclusively(
        request,
        async ({ driver, native }) => {
          if (driver.storage === null) throw unsupported("Devices are plugged into VMs and microVMs only.");
          return await driver.storage.plug({ nativeId: native.nativeId }, volumes, interfaces, fleet.signal);
        },
        fleet.signal,
      );
      return { devices };
    },
  });
}

function unsupported(message: string): FleetError {
  return new FleetError("FAILED_PRECONDITION", message, { reason: "StorageUnsupported" });
}
