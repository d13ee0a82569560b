import type { Resources } from "../../../schema/generated/proto/hypervisor/v1/common.ts";
import type { EntityManager } from "../../kit/store/orm.ts";

/** What nodes hold for their instances. All changes are single statements on the node's row, in the transaction that changes the instance. */

const COLUMNS = ["cpu_cores", "memory_bytes", "disk_bytes", "gpu_count"] as const;

interface Row extends Record<(typeof COLUMNS)[number], number | string> {
  node_id: string;
}

/** Of all nodes that ever held something, or of these. */
export async function readReservations(em: EntityManager, nodeIds?: readonly string[]): Promise<Map<string, Resources>> {
  if (nodeIds?.length === 0) return new Map();
  const where = nodeIds ? ` where node_id in (${nodeIds.map(() => "?").join(", ")})` : "";
  const rows = await em.execute<Row[]>(`select node_id, ${COLUMNS.join(", ")} from node_reservation${where}`, [...(nodeIds ?? [])]);
  return new Map(rows.map((row) => [row.node_id, resources(row)]));
}

/**
 * Takes `amount` of a node where it fits under `allocatable` together with what is taken; what is 0 or less always fits. False: it does not.
 * The node's row is then locked until the transaction ends, whoever else reserves there waits.
 */
export async function reserve(em: EntityManager, nodeId: string, amount: Resources, allocatable: Resources): Promise<boolean> {
  await ensureRow(em, nodeId);
  const [amounts, limits] = [values(amount), values(allocatable)];
  const set = COLUMNS.map((column) => `${column} = ${column} + ?`).join(", ");
  const grows = COLUMNS.filter((_, index) => (amounts[index] ?? 0) > 0);
  const fits = grows.map((column) => ` and ${column} + ? <= ?`).join("");
  const limited = COLUMNS.flatMap((_, index) => ((amounts[index] ?? 0) > 0 ? [amounts[index], limits[index]] : []));
  const rows = await em.execute<unknown[]>(`update node_reservation set ${set} where node_id = ?${fits} returning node_id`, [
    ...amounts,
    nodeId,
    ...limited,
  ]);
  return rows.length > 0;
}

/** Takes `amount` whether it fits or not: for what is there already. */
export async function reserveAnyway(em: EntityManager, nodeId: string, amount: Resources): Promise<void> {
  await ensureRow(em, nodeId);
  const set = COLUMNS.map((column) => `${column} = ${column} + ?`).join(", ");
  await em.execute(`update node_reservation set ${set} where node_id = ?`, [...values(amount), nodeId]);
}

export function release(em: EntityManager, nodeId: string, amount: Resources): Promise<void> {
  const [cpuCores = 0, memoryBytes = 0, diskBytes = 0, gpuCount = 0] = values(amount).map((value) => 0 - value);
  return reserveAnyway(em, nodeId, { cpuCores, memoryBytes, diskBytes, gpuCount });
}

/** Where the row of a node is not the sum over its instances: a bug, or a hand in the database. One statement, so that it sees one moment. */
export async function findUnbalanced(em: EntityManager): Promise<string[]> {
  const differs = COLUMNS.map((column) => `coalesce(r.${column}, 0) <> coalesce(s.${column}, 0)`).join(" or ");
  const rows = await em.execute<Array<{ node_id: string }>>(
    `select coalesce(r.node_id, s.node_id) as node_id from node_reservation r full join (${SUMS} group by node_id) s on s.node_id = r.node_id
     where ${differs} limit 500`,
  );
  return rows.map((row) => row.node_id);
}

/** Makes the row of a node the sum over its instances; false where it was. */
export async function balance(em: EntityManager, nodeId: string): Promise<boolean> {
  await ensureRow(em, nodeId);
  // Whoever creates here comes before this lock or after it.
  await em.execute("update node_reservation set node_id = node_id where node_id = ?", [nodeId]);
  const [sum] = await em.execute<Row[]>(`${SUMS} and node_id = ? group by node_id`, [nodeId]);
  const amounts = COLUMNS.map((column) => Number(sum?.[column] ?? 0));
  const rows = await em.execute<unknown[]>(
    `update node_reservation set ${COLUMNS.map((column) => `${column} = ?`).join(", ")}
     where node_id = ? and (${COLUMNS.map((column) => `${column} <> ?`).join(" or ")}) returning node_id`,
    [...amounts, nodeId, ...amounts],
  );
  return rows.length > 0;
}

/** By the instances that are placed there, and by those that are on their way there. */
const SUMS = `select node_id, ${COLUMNS.map((column) => `sum(${column}) as ${column}`).join(", ")} from (
  select node_id, ${COLUMNS.join(", ")} from instance where managed = true and state <> 'DELETED'
  union all select target_node_id as node_id, ${COLUMNS.join(", ")} from instance_move) held where true`;

function ensureRow(em: EntityManager, nodeId: string): Promise<unknown> {
  return em.execute(
    `insert into node_reservation (node_id, ${COLUMNS.join(", ")}) values (?, 0, 0, 0, 0) on conflict (node_id) do nothing`,
    [nodeId],
  );
}

function values({ cpuCores, memoryBytes, diskBytes, gpuCount }: Resources): number[] {
  return [cpuCores, memoryBytes, diskBytes, gpuCount];
}

function resources(row: Row): Resources {
  return {
    cpuCores: Number(row.cpu_cores),
    memoryBytes: Number(row.memory_bytes),
    diskBytes: Number(row.disk_bytes),
    gpuCount: Number(row.gpu_count),
  };
}
