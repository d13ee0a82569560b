import { Client, Pool, TypeOverrides } from "pg";
import type { Logger } from "../../../platform/observability/log.ts";

export interface PoolLimits {
  /** Connections at most; 10 unless told. */
  maxConnections?: number;
  /** Milliseconds that one statement may take; 15 s unless told. */
  statementTimeoutMs?: number;
}

/** Dates and intervals stay text: MikroORM parses them itself. Those are the OIDs of date, timestamp, timestamptz and interval. */
const TEXT_TYPES = [1082, 1114, 1184, 1186];

/** A pool in which every wait ends. */
export function openPool(url: string, store: string, { maxConnections = 10, statementTimeoutMs = 15_000 }: PoolLimits, log: Logger): Pool {
  const types = new TypeOverrides();
  for (const oid of TEXT_TYPES) types.setTypeParser(oid, (text: string) => text);
  const pool = new Pool({
    connectionString: url,
    types,
    application_name: `fleetgraph-${store}`,
    max: maxConnections,
    connectionTimeoutMillis: 5_000,
    idleTimeoutMillis: 30_000,
    statement_timeout: statementTimeoutMs,
    lock_timeout: Math.min(10_000, statementTimeoutMs),
    // A process that froze inside a transaction must not hold the stream's counter row, and with it every writer, for ever.
    idle_in_transaction_session_timeout: 10_000,
    keepAlive: true,
  });
  // Without a listener the loss of an idle connection would end the process. The pool replaces it by itself.
  pool.on("error", (error) => log.warn({ err: error }, "a database connection was lost"));
  pool.on("connect", (client) => client.on("error", (error) => log.debug({ err: error }, "a database connection failed")));
  return pool;
}

/**
 * Creates the database where it is missing and the user may.
 * @throws Error that says what to run when it may not.
 */
export async function ensurePostgresDatabase(url: string, database: string): Promise<void> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  try {
    await client.connect();
    return;
  } catch (error) {
    if ((error as { code?: string }).code !== "3D000") throw error;
  } finally {
    await client.end().catch(() => undefined);
  }
  const maintenance = new URL(url);
  maintenance.pathname = "/postgres";
  const admin = new Client({ connectionString: maintenance.href, connectionTimeoutMillis: 5_000, statement_timeout: 30_000 });
  try {
    await admin.connect();
    await admin.query(`create database ${admin.escapeIdentifier(database)} template template0 encoding 'UTF8'`);
  } catch (error) {
    // 42P04, 23505: another replica was faster.
    const { code } = error as { code?: string };
    if (code === "42P04" || code === "23505") return;
    throw new Error(`The database ${database} does not exist and could not be created; create it, owned by this user.`, { cause: error });
  } finally {
    await admin.end().catch(() => undefined);
  }
}
