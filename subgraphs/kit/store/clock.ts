import type { Dialect } from "./dialect.ts";
import type { EntityManager } from "./orm.ts";

const NOW: Record<Dialect, string> = {
  sqlite: "select cast((julianday('now') - 2440587.5) * 86400000 as integer) as now",
  postgresql: "select floor(extract(epoch from clock_timestamp()) * 1000)::bigint as now",
};

/** Milliseconds since 1970 by the database's clock, which all replicas share. For leases; what people see is dated by the process. */
export async function databaseNow(em: EntityManager, dialect: Dialect): Promise<number> {
  const [row] = await em.execute<Array<{ now: number | string }>>(NOW[dialect]);
  return Number(row?.now);
}
