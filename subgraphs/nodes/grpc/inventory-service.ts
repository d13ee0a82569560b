import { type GrpcService, grpcService } from "../../../platform/grpc/server.ts";
import { InventoryServiceDefinition } from "../../../schema/generated/proto/hypervisor/v1/agent.ts";
import type { InventoryReport } from "../services/inventory/inventory-report.ts";

/** hypervisor.v1.InventoryService, for the agents' port. */
export function inventoryService(inventories: InventoryReport): GrpcService {
  return grpcService(InventoryServiceDefinition, {
    reportInventory: async (request, { fleet }) => ({ wanted: await inventories.report(fleet, request) }),
  });
}
