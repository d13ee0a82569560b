import DataLoader from "dataloader";
import type { RequestContext } from "../../../platform/request-context.ts";
import type { HardwareUsage } from "../../../schema/generated/proto/hypervisor/v1/agent.ts";
import type { AcceleratorUsage, NetworkCounters } from "../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import type { SubgraphContext } from "../../kit/graphql/context.ts";
import type { DeviceReservation } from "../entities/device-reservation.ts";
import type { InstanceDeviceView } from "../services/devices/device-types.ts";
import { INVENTORY_PARTS, type InventoryPartName } from "../services/inventory/inventory-parts.ts";
import type { StoredInventory } from "../services/inventory/inventory-reads.ts";
import type { Live } from "../services/inventory/live-reads.ts";
import type { NodesServices } from "../services/nodes-services.ts";
import type { OperationView } from "../services/operations/operation-types.ts";

type InventoryLoaders = { readonly [Part in InventoryPartName]: DataLoader<string, StoredInventory<Part> | null> };

/** What the resolvers of this subgraph find in their context. Loaders are by node. */
export interface NodesContext extends SubgraphContext {
  readonly services: NodesServices;
  /** One query per part for all nodes that a request asks about. */
  readonly inventory: InventoryLoaders;
  /** One call per node, however often a request asks. */
  readonly usages: DataLoader<string, Live<HardwareUsage>>;
  readonly counters: DataLoader<string, Live<NetworkCounters>>;
  readonly acceleratorUsages: DataLoader<string, Live<AcceleratorUsage>>;
  /** What is being done to a node now. */
  readonly operations: DataLoader<string, OperationView | null>;
  /** Of each node, by device. */
  readonly reservations: DataLoader<string, Map<string, DeviceReservation>>;
  /** By instance. */
  readonly instanceDevices: DataLoader<string, InstanceDeviceView[]>;
  /** What of a selection is volatile, which is the same for every node of a list. */
  readonly volatileFields: WeakMap<object, readonly string[]>;
}

const BATCH = { maxBatchSize: 500 };

/** Anew for every query and event. */
export function nodesContext(services: NodesServices, request: RequestContext): NodesContext {
  const { inventory, live } = services;
  const loaders = INVENTORY_PARTS.map((part) => [
    part,
    new DataLoader((ids: readonly string[]) => inventory.read(request, part, ids), BATCH),
  ]);
  return {
    request,
    services,
    inventory: Object.fromEntries(loaders) as InventoryLoaders,
    usages: new DataLoader((nodeIds) => live.usages(request, nodeIds), BATCH),
    counters: new DataLoader((nodeIds) => live.counters(request, nodeIds), BATCH),
    acceleratorUsages: new DataLoader((nodeIds) => live.acceleratorUsages(request, nodeIds), BATCH),
    operations: new DataLoader((nodeIds) => services.operations.queries.current(request, nodeIds), BATCH),
    reservations: new DataLoader((nodeIds) => services.devices.queries.reservations(request, nodeIds), BATCH),
    instanceDevices: new DataLoader((instanceIds) => services.devices.queries.devicesOf(request, instanceIds), BATCH),
    volatileFields: new WeakMap(),
  };
}
