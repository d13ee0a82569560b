import type Database from "better-sqlite3";
import { CompiledQuery, type DatabaseConnection, SqliteAdapter, SqliteDialect, SqliteDriver, type TransactionSettings } from "kysely";
import { FleetError } from "../../../platform/errors/fleet-error.ts";
import { withStatementCache } from "./statement-cache.ts";
import { guardAcquire } from "./transaction-scope.ts";

const MAX_WAITING = 10_000;
const ACQUIRE_TIMEOUT_MS = 15_000;

/**
 * MikroORM's way to SQLite, with two differences to Kysely's own dialect: transactions are BEGIN IMMEDIATE, so that two processes on
 * one file never meet in the middle of a read-then-write; and the queue for the one connection is ours, so that it is bounded, has a
 * deadline, and refuses a transaction that would wait for itself.
 */
export class ImmediateSqliteDialect extends SqliteDialect {
  readonly #database: Database.Database;
  readonly #store: string;

  constructor(database: Database.Database, store: string) {
    super({ database });
    this.#database = database;
    this.#store = store;
  }

  override createDriver(): SqliteDriver {
    return new ImmediateSqliteDriver(this.#database, this.#store);
  }

  override createAdapter(): SqliteAdapter {
    return new QueueingSqliteAdapter();
  }
}

class QueueingSqliteAdapter extends SqliteAdapter {
  /** False would put Kysely's own unbounded queue in front of the driver's. */
  override get supportsMultipleConnections(): boolean {
    return true;
  }
}

class ImmediateSqliteDriver extends SqliteDriver {
  readonly #database: Database.Database;
  readonly #store: string;
  readonly #waiting: Array<() => void> = [];
  #taken = false;

  constructor(database: Database.Database, store: string) {
    super({ database: withStatementCache(database) });
    this.#database = database;
    this.#store = store;
  }

  override async acquireConnection(): Promise<DatabaseConnection> {
    guardAcquire(this.#store);
    if (this.#taken) await this.#wait();
    this.#taken = true;
    return super.acquireConnection();
  }

  override async releaseConnection(): Promise<void> {
    // Stays taken when somebody waits: the turn passes on directly.
    const next = this.#waiting.shift();
    if (next) next();
    else this.#taken = false;
  }

  override async beginTransaction(connection: DatabaseConnection, settings?: TransactionSettings): Promise<void> {
    try {
      await connection.executeQuery(CompiledQuery.raw(settings?.accessMode === "read only" ? "begin" : "begin immediate"));
    } catch (error) {
      // Kysely 0.29 releases the connection of a transaction only behind its commit or rollback, never when its begin fails.
      await this.releaseConnection();
      throw error;
    }
  }

  override async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    // SQLite has rolled back by itself after some errors (disk full, I/O); a rollback that throws would keep the connection for ever.
    if (this.#database.inTransaction) await super.rollbackTransaction(connection);
  }

  #wait(): Promise<void> {
    if (this.#waiting.length >= MAX_WAITING) {
      return Promise.reject(new FleetError("UNAVAILABLE", "The database has too many requests waiting.", { reason: "DatabaseOverloaded" }));
    }
    return new Promise((resolve, reject) => {
      const turn = () => {
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(() => {
        const index = this.#waiting.indexOf(turn);
        if (index >= 0) this.#waiting.splice(index, 1);
        reject(new FleetError("UNAVAILABLE", "The database did not come free in time.", { reason: "DatabaseBusy" }));
      }, ACQUIRE_TIMEOUT_MS);
      this.#waiting.push(turn);
    });
  }
}
