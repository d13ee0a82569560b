import type { EntityManager } from "../../kit/store/orm.ts";
import { isMassExpiry, MASS_EXPIRY_WINDOW_MS } from "./mass-expiry.ts";
import { NODE_STATUSES, type NodeStatus, type Resources } from "./node-types.ts";

export interface NodeTotals {
  totalNodes: number;
  nodesByStatus: Array<{ status: NodeStatus; count: number }>;
  capacity: Resources;
  allocated: Resources;
  massExpiry: boolean;
}

type Row = Record<string, number | string | null> & { status: NodeStatus };

const RESOURCES = ["cpu_cores", "memory_bytes", "disk_bytes", "gpu_count"] as const;

const SUMS = ["capacity", "allocated"]
  .flatMap((kind) => RESOURCES.map((resource) => `sum(coalesce(${kind}_${resource}, 0)) as ${kind}_${resource}`))
  .join(", ");

/** Sums over all nodes that are in service, by one pass of the database. */
export async function nodeTotals(em: EntityManager): Promise<NodeTotals> {
  const since = new Date(Date.now() - MASS_EXPIRY_WINDOW_MS);
  const rows = await em.execute<Row[]>(
    `select status, count(*) as nodes, ${SUMS},
       sum(case when lease = 'running' then 1 else 0 end) as running,
       sum(case when lease = 'expired' and lease_expired_at > ? then 1 else 0 end) as expired
     from node where deregistered_at is null group by status`,
    [since],
  );
  const total = (column: string) => rows.reduce((sum, row) => sum + Number(row[column] ?? 0), 0);
  return {
    totalNodes: total("nodes"),
    nodesByStatus: NODE_STATUSES.map((status) => ({ status, count: Number(rows.find((row) => row.status === status)?.nodes ?? 0) })),
    capacity: resources("capacity", total),
    allocated: resources("allocated", total),
    massExpiry: isMassExpiry(total("expired"), total("running")),
  };
}

function resources(kind: string, total: (column: string) => number): Resources {
  return {
    cpuCores: total(`${kind}_cpu_cores`),
    memoryBytes: total(`${kind}_memory_bytes`),
    diskBytes: total(`${kind}_disk_bytes`),
    gpuCount: total(`${kind}_gpu_count`),
  };
}
