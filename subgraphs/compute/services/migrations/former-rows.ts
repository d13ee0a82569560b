import type { EntityManager } from "../../../kit/store/orm.ts";
import { FormerPlacement } from "../../entities/former-placement.ts";
import type { Observation } from "../observation.ts";

/** Remembers what a node may still have. Of two for one node the newer counts: what is removed by it is removed of both. */
export async function rememberFormer(em: EntityManager, placement: FormerPlacement): Promise<void> {
  const { instanceId, nodeId } = placement;
  const known = await em.findOne(FormerPlacement, { instanceId, nodeId });
  if (known === null) em.persist(em.create(FormerPlacement, placement));
  else if (known.generation <= placement.generation) Object.assign(known, placement);
}

export async function hasFormer(em: EntityManager, instanceId: string, nodeId: string): Promise<boolean> {
  return (await em.count(FormerPlacement, { instanceId, nodeId })) > 0;
}

/** What a node may still have of instances that are elsewhere, by instance. */
export async function formerOn(em: EntityManager, nodeId: string): Promise<Map<string, FormerPlacement>> {
  const rows = await em.find(FormerPlacement, { nodeId });
  return new Map(rows.map((row) => [row.instanceId, row]));
}

/** The host says that nothing is left of it. Gives whether that is so. */
export function endsFormer(placement: FormerPlacement, { state, generation }: Observation): boolean {
  return state === "DELETED" && generation >= placement.generation;
}
