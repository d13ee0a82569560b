import DataLoader from "dataloader";
import type { RequestContext } from "../../../platform/request-context.ts";
import type { SubgraphContext } from "../../kit/graphql/context.ts";
import type { NodeInventory } from "../entities/node-inventory.ts";
import type { HardwareReads, UsageOutcome } from "../services/hardware-reads.ts";

/** What the resolvers of this subgraph find in their context. */
export interface NodesContext extends SubgraphContext {
  readonly hardware: HardwareReads;
  /** By node; one query for all that a request asks for. */
  readonly inventories: DataLoader<string, NodeInventory | null>;
  /** By node; one call each, however often a request asks. */
  readonly usages: DataLoader<string, UsageOutcome>;
  /** The volatile fields of a selection, which is the same for every node of a list. */
  readonly volatileFields: WeakMap<object, readonly string[]>;
}

/** Anew for every query and event. */
export function nodesContext(hardware: HardwareReads, request: RequestContext): NodesContext {
  return {
    request,
    hardware,
    inventories: new DataLoader((nodeIds) => hardware.inventories(request, nodeIds), { maxBatchSize: 500 }),
    usages: new DataLoader((nodeIds) => hardware.usages(request, nodeIds), { maxBatchSize: 500 }),
    volatileFields: new WeakMap(),
  };
}
