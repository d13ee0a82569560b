import type { Resources } from "../../../schema/generated/proto/hypervisor/v1/common.ts";
import type { EntityManager } from "../../kit/store/orm.ts";
import { readReservations } from "./reservations.ts";

/** What a node has, in numbers; deleted instances count nowhere. */
export interface NodeInstanceTotals {
  managed: number;
  unmanaged: number;
  /** Managed or not. */
  running: number;
  reserved: Resources;
}

interface Row {
  node_id: string;
  managed: number | string;
  unmanaged: number | string;
  running: number | string;
}

/** In the order of the ids, by two queries for all of them. */
export async function readNodeTotals(em: EntityManager, nodeIds: readonly string[]): Promise<NodeInstanceTotals[]> {
  const rows = await em.execute<Row[]>(
    `select node_id, sum(case when managed = true then 1 else 0 end) as managed, sum(case when managed = true then 0 else 1 end) as unmanaged,
       sum(case when state = 'RUNNING' then 1 else 0 end) as running
     from instance where deleted_at is null and node_id in (${nodeIds.map(() => "?").join(", ")}) group by node_id`,
    [...nodeIds],
  );
  const reservations = await readReservations(em, nodeIds);
  const counts = new Map(rows.map((row) => [row.node_id, row]));
  return nodeIds.map((nodeId) => {
    const row = counts.get(nodeId);
    return {
      managed: Number(row?.managed ?? 0),
      unmanaged: Number(row?.unmanaged ?? 0),
      running: Number(row?.running ?? 0),
      reserved: reservations.get(nodeId) ?? { cpuCores: 0, memoryBytes: 0, diskBytes: 0, gpuCount: 0 },
    };
  });
}
