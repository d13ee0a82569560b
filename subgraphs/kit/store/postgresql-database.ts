import { Client, type Pool, type PoolClient, type PoolConfig } from "pg";
import { guardAcquire } from "./transaction-scope.ts";

export interface PoolLimits {
  /** Connections at most; 10 unless told. */
  maxConnections?: number;
  /** Milliseconds that one statement may take; 15 s unless told. */
  statementTimeoutMs?: number;
}

/** Settings of the pool: every wait in it ends. */
export function poolConfig(url: string, store: string, { maxConnections = 10, statementTimeoutMs = 15_000 }: PoolLimits): PoolConfig {
  return {
    connectionString: url,
    application_name: `fleetgraph-${store}`,
    max: maxConnections,
    connectionTimeoutMillis: 5_000,
    idleTimeoutMillis: 30_000,
    statement_timeout: statementTimeoutMs,
    lock_timeout: Math.min(10_000, statementTimeoutMs),
    // A process that froze inside a transaction must not hold the stream's counter row, and with it every writer, for ever.
    idle_in_transaction_session_timeout: 10_000,
    keepAlive: true,
  };
}

/** Makes the pool refuse a connection to whoever is inside a transaction already: it would wait for itself once the pool is empty. */
export function guardPool(pool: Pool, store: string): void {
  const connect = pool.connect.bind(pool) as () => Promise<PoolClient>;
  const guarded = (callback?: (...args: unknown[]) => void): Promise<PoolClient> | undefined => {
    // `pool.query` takes its connection by callback, after its own caller was checked (sql.ts).
    if (callback) {
      (connect as unknown as (callback: (...args: unknown[]) => void) => void)(callback);
      return undefined;
    }
    try {
      guardAcquire(store);
    } catch (error) {
      return Promise.reject(error);
    }
    return connect();
  };
  pool.connect = guarded as Pool["connect"];
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
