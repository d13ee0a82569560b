import { type NodeRefusal, refusalOf } from "./placement-refusal.ts";
import type { PlacementNode, PlacementRequest } from "./placement-types.ts";

/** The best candidates, best first; or why each node is none. */
export type PlacementDecision = { fits: true; ranked: string[] } | { fits: false; refusals: NodeRefusal[] };

/** As many as there are tries to reserve, where others are faster. */
const CANDIDATES = 8;

/**
 * Where an instance goes. Pure: the same request and nodes give the same answer. One pass without allocating per node, since it runs
 * for each creation over all of the fleet.
 */
export function place(request: PlacementRequest, nodes: readonly PlacementNode[]): PlacementDecision {
  const ids: string[] = [];
  const scores: number[] = [];
  let preferred: string | null = null;
  for (const node of nodes) {
    if (refusalOf(request, node) !== null) continue;
    if (node.nodeId === request.preferredNodeId) preferred = node.nodeId;
    else insert(ids, scores, node.nodeId, score(request, node));
  }
  const ranked = preferred === null ? ids : [preferred, ...ids].slice(0, CANDIDATES);
  if (ranked.length > 0) return { fits: true, ranked };
  return { fits: false, refusals: nodes.flatMap((node) => explain(request, node)) };
}

function explain(request: PlacementRequest, node: PlacementNode): NodeRefusal[] {
  const refusal = refusalOf(request, node);
  return refusal === null
    ? []
    : [{ nodeId: node.nodeId, hostname: node.hostname, reason: refusal.reason, message: refusal.message(request, node) }];
}

/** The mean of the ratios of CPU and memory that are free once the instance is there; packing looks for the least. */
function score({ cpuCores, memoryBytes, strategy }: PlacementRequest, { allocatable, reserved }: PlacementNode): number {
  const cpu = freeRatio(allocatable.cpuCores, reserved.cpuCores + cpuCores);
  const memory = freeRatio(allocatable.memoryBytes, reserved.memoryBytes + memoryBytes);
  const free = (cpu + memory) / 2;
  return strategy === "spread" ? free : -free;
}

function freeRatio(allocatable: number, taken: number): number {
  return allocatable > 0 ? (allocatable - taken) / allocatable : 0;
}

/** Keeps the best few in order; equal ones by id, so that the order of the nodes does not matter. */
function insert(ids: string[], scores: number[], id: string, value: number): void {
  let at = ids.length;
  while (at > 0) {
    const [otherId, other] = [ids[at - 1] as string, scores[at - 1] as number];
    if (other > value || (other === value && otherId < id)) break;
    at -= 1;
  }
  if (at >= CANDIDATES) return;
  ids.splice(at, 0, id);
  scores.splice(at, 0, value);
  if (ids.length > CANDIDATES) {
    ids.pop();
    scores.pop();
  }
}
