import { type GrpcService, grpcService } from "../../../platform/grpc/server.ts";
import { InventoryServiceDefinition } from "../../../schema/generated/proto/hypervisor/v1/agent.ts";
import type { InventoryReport } from "../services/inventory-report.ts";

/** hypervisor.v1.InventoryService, for the agents' port. */
export function inventoryService(inventories: InventoryReport): GrpcService {
  return grpcService(InventoryServiceDefinition, {
    reportInventory: async ({ nodeId, digest, hardware, observedAt }, { fleet }) => ({
      wanted: await inventories.report(fleet, { nodeId, digest, hardware: hardware ?? null, observedAt: observedAt ?? null }),
    }),
  });
}
