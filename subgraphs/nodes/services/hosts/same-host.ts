import type { EntityManager } from "../../../kit/store/orm.ts";
import { BridgedHost } from "../../entities/bridged-host.ts";
import { NodeInventoryPart } from "../../entities/node-inventory-part.ts";
import type { Machine } from "./host-types.ts";

/**
 * The node, other than `host`, that is this machine already: of those with the same libvirt host, the one whose boot is the same. Empty where it is still being
 * added, null where there is none, or where the machine did not tell.
 */
export async function findMachine(
  em: EntityManager,
  { hostUuid, bootId }: Machine,
  host: Pick<BridgedHost, "id" | "nodeId">,
): Promise<{ nodeId: string | null } | null> {
  if (hostUuid === null || bootId === null) return null;
  const added = await em.findOne(BridgedHost, { hostUuid, bootId, id: { $ne: host.id } });
  if (added !== null) return { nodeId: added.nodeId };
  // Boots change, and agents report them: what was stored at the addition may be out of date.
  const reported = await em.find(
    NodeInventoryPart,
    { part: "HOST", content: { uuid: hostUuid, bootId } },
    { fields: ["nodeId"], limit: 2 },
  );
  const other = reported.find(({ nodeId }) => nodeId !== host.nodeId);
  return other ? { nodeId: other.nodeId } : null;
}
