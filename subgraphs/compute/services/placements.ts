import { FleetError } from "../../../platform/errors/fleet-error.ts";
import type { Resources } from "../../../schema/generated/proto/hypervisor/v1/common.ts";
import type { EntityManager } from "../../kit/store/orm.ts";
import type { FleetView } from "./fleet-view.ts";
import { type Creation, resourcesOf } from "./instance-types.ts";
import { type PlacementDecision, place } from "./placement.ts";
import type { NodeRefusal } from "./placement-refusal.ts";
import type { PlacementNode, PlacementRequest } from "./placement-types.ts";
import { readReservations, release, reserve } from "./reservations.ts";

/** How often the nodes are looked at again where others were faster at every candidate. */
const ROUNDS = 3;
const STRATEGIES = { SPREAD: "spread", PACK: "pack" } as const;
/** Nodes whose reasons an error lists. */
const MAX_REASONS = 100;

/** Places instances within one transaction: each sees what the ones before it took. */
export class Placements {
  readonly #em: EntityManager;
  readonly #fleet: FleetView;
  readonly #strategy: "spread" | "pack";
  #nodes: Map<string, PlacementNode> | null = null;
  /** Of this transaction, which the database does not show before it is flushed: "label\0value" → nodes. */
  readonly #labelled = new Map<string, Set<string>>();

  constructor(em: EntityManager, fleet: FleetView, strategy: "spread" | "pack") {
    this.#em = em;
    this.#fleet = fleet;
    this.#strategy = strategy;
  }

  /** The node that the instance goes to, with its share of it taken. Throws RESOURCE_EXHAUSTED, NOT_FOUND (preferredNodeId), CONFLICT. */
  async take(creation: Creation): Promise<string> {
    const { preferredNodeId } = creation;
    if (preferredNodeId !== null && this.#fleet.get(preferredNodeId) === undefined) throw unknownPreference(preferredNodeId);
    const amount = resourcesOf(creation.spec);
    let decision: PlacementDecision = { fits: false, refusals: [] };
    for (let round = 0; round < ROUNDS; round += 1) {
      // The first look serves all of a transaction; a refusal is given only on what the database says now.
      const nodes = await this.#look(round > 0);
      decision = place(this.#request(creation, amount, await this.#avoided(creation)), [...nodes.values()]);
      if (!decision.fits && round > 0) break;
      for (const nodeId of decision.fits ? decision.ranked : []) {
        const node = nodes.get(nodeId);
        if (node && (await this.#reserve(node, amount, creation))) {
          this.#remember(creation, nodeId);
          return nodeId;
        }
      }
    }
    if (decision.fits)
      throw new FleetError("CONFLICT", "Others kept taking the nodes that fit: try again.", { reason: "PlacementConflict" });
    throw noNodeFits(decision.refusals);
  }

  #request(creation: Creation, amount: Resources, avoid: ReadonlySet<string>): PlacementRequest {
    return {
      ...amount,
      type: creation.type.toLowerCase(),
      preferredNodeId: creation.preferredNodeId,
      region: creation.region ?? "",
      zone: creation.zone ?? "",
      nodeLabels: Object.entries(creation.nodeLabels),
      avoid,
      strategy: creation.strategy === null ? this.#strategy : STRATEGIES[creation.strategy],
    };
  }

  async #look(again: boolean): Promise<Map<string, PlacementNode>> {
    if (this.#nodes === null || again) {
      const nodes = this.#fleet.nodes(await readReservations(this.#em));
      this.#nodes = new Map(nodes.map((node) => [node.nodeId, node]));
    }
    return this.#nodes;
  }

  async #reserve(node: PlacementNode, amount: Resources, creation: Creation): Promise<boolean> {
    if (!(await reserve(this.#em, node.nodeId, amount, node.allocatable))) return false;
    // The node's row is locked now: what others put there meanwhile is visible, and nobody puts more there.
    if ((await this.#avoided(creation)).has(node.nodeId)) {
      await release(this.#em, node.nodeId, amount);
      return false;
    }
    add(node.reserved, amount);
    return true;
  }

  /** Nodes with an instance that has the same value of the anti-affinity label. */
  async #avoided({ antiAffinityLabel, labels }: Creation): Promise<Set<string>> {
    if (antiAffinityLabel === null) return new Set();
    const value = labels[antiAffinityLabel] ?? "";
    const rows = await this.#em.execute<Array<{ node_id: string }>>(
      `select distinct i.node_id from instance_label l join instance i on i.id = l.instance_id
       where l.key = ? and l.value = ? and i.managed = true and i.state <> 'DELETED'`,
      [antiAffinityLabel, value],
    );
    return new Set([...rows.map((row) => row.node_id), ...(this.#labelled.get(`${antiAffinityLabel}\0${value}`) ?? [])]);
  }

  #remember({ labels }: Creation, nodeId: string): void {
    for (const [key, value] of Object.entries(labels)) {
      const nodes = this.#labelled.get(`${key}\0${value}`) ?? new Set();
      this.#labelled.set(`${key}\0${value}`, nodes.add(nodeId));
    }
  }
}

function add(sum: Resources, amount: Resources): void {
  sum.cpuCores += amount.cpuCores;
  sum.memoryBytes += amount.memoryBytes;
  sum.diskBytes += amount.diskBytes;
  sum.gpuCount += amount.gpuCount;
}

/** RESOURCE_EXHAUSTED with the reason of each node, bounded, and how many there are of each reason. */
export function noNodeFits(refusals: readonly NodeRefusal[]): FleetError {
  const counts = new Map<string, number>();
  for (const { reason } of refusals) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  const summary = [...counts].map(([reason, count]) => `${count} × ${reason}`).join(", ");
  const message = refusals.length === 0 ? "There is no node that could take this instance." : `No node fits: ${summary}.`;
  return new FleetError("RESOURCE_EXHAUSTED", message, {
    reason: "NoNodeFits",
    details: { nodeCount: refusals.length, reasons: Object.fromEntries(counts), nodes: refusals.slice(0, MAX_REASONS) },
  });
}

function unknownPreference(id: string): FleetError {
  return new FleetError("NOT_FOUND", `Node ${JSON.stringify(id)} does not exist.`, {
    details: { field: "preferredNodeId", kind: "Node", id },
  });
}
