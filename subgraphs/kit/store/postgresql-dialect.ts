import { CompiledQuery, type DatabaseConnection, PostgresDialect, PostgresDriver, type TransactionSettings } from "kysely";
import type { Pool } from "pg";
import { guardAcquire } from "./transaction-scope.ts";

/**
 * MikroORM's way to PostgreSQL, with two differences to Kysely's own dialect: a connection whose begin or rollback fails goes back to
 * the pool (Kysely 0.29 keeps it for ever, so that a restart of the server would use the pool up), and a second connection from inside
 * a transaction is refused. It cannot stream rows with `em.stream`.
 */
export class GuardedPostgresDialect extends PostgresDialect {
  readonly #pool: Pool;
  readonly #store: string;

  constructor(pool: Pool, store: string) {
    super({ pool });
    this.#pool = pool;
    this.#store = store;
  }

  override createDriver(): PostgresDriver {
    return new GuardedPostgresDriver(this.#pool, this.#store);
  }
}

class GuardedPostgresDriver extends PostgresDriver {
  readonly #store: string;

  constructor(pool: Pool, store: string) {
    super({ pool });
    this.#store = store;
  }

  override async acquireConnection(): Promise<DatabaseConnection> {
    guardAcquire(this.#store);
    return super.acquireConnection();
  }

  override async beginTransaction(connection: DatabaseConnection, settings: TransactionSettings): Promise<void> {
    try {
      await super.beginTransaction(connection, settings);
    } catch (error) {
      // The pool throws away a client whose connection is gone.
      await super.releaseConnection(connection as Parameters<PostgresDriver["releaseConnection"]>[0]);
      throw error;
    }
  }

  override async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    try {
      await super.rollbackTransaction(connection);
    } catch {
      // In whatever state it is, nobody may get it from the pool again: its own end makes the pool throw it away.
      await connection.executeQuery(CompiledQuery.raw("select pg_terminate_backend(pg_backend_pid())")).catch(() => undefined);
    }
  }
}
