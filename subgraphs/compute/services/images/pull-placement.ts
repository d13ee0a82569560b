import { FleetError, notFound } from "../../../../platform/errors/fleet-error.ts";
import type { EntityManager } from "../../../kit/store/orm.ts";
import type { FleetView } from "../fleet-view.ts";
import { place } from "../placement.ts";
import { noNodeFits } from "../placements.ts";
import { readReservations } from "../reservations.ts";
import type { PullOrder } from "./image-input.ts";

/**
 * The nodes of a pull: those that are named, or the one that a new instance of the image would go to. Throws NOT_FOUND,
 * FAILED_PRECONDITION (reason Simulated), RESOURCE_EXHAUSTED (reason NoNodeFits, details.nodes says why for each).
 */
export async function pullNodes(em: EntityManager, fleet: FleetView, order: PullOrder, strategy: "spread" | "pack"): Promise<string[]> {
  if (order.nodeIds.length === 0) return [await chooseNode(em, fleet, order, strategy)];
  for (const nodeId of order.nodeIds) {
    const record = fleet.get(nodeId);
    if (record === undefined) throw withField(notFound("Node", nodeId));
    if (record.simulated) {
      throw new FleetError("FAILED_PRECONDITION", `${record.hostname} is simulated: there is no host to bring an image to.`, {
        reason: "Simulated",
        details: { field: "nodeIds", nodeId },
      });
    }
  }
  return order.nodeIds;
}

/** As for a new instance that takes nothing. */
async function chooseNode(em: EntityManager, fleet: FleetView, order: PullOrder, strategy: "spread" | "pack"): Promise<string> {
  const request = {
    type: order.instanceType.toLowerCase(),
    ...{ cpuCores: 0, memoryBytes: 0, diskBytes: 0, gpuCount: 0 },
    preferredNodeId: null,
    region: order.region ?? "",
    zone: order.zone ?? "",
    nodeLabels: [],
    avoid: new Set<string>(),
    strategy,
  };
  const decision = place(request, fleet.nodes(await readReservations(em)));
  const [best] = decision.fits ? decision.ranked : [];
  if (best === undefined) throw noNodeFits(decision.fits ? [] : decision.refusals);
  return best;
}

function withField({ code, message, details }: FleetError): FleetError {
  return new FleetError(code, message, { details: { ...details, field: "nodeIds" } });
}
