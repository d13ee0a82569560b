import { Migration as MikroMigration } from "@mikro-orm/migrations";
import type { AbstractSqlDriver, Configuration, SqlEntityManager } from "@mikro-orm/sqlite";
import { SqliteDriver } from "@mikro-orm/sqlite";
import type { Logger } from "../../../platform/observability/log.ts";
import type { Dialect } from "./dialect.ts";
import { withRetry } from "./retry.ts";

export type MigrationClass = new (driver: AbstractSqlDriver, config: Configuration) => Migration;

const COLUMN_TYPES = {
  sqlite: { timestamp: "integer", json: "text", boolean: "integer", int64: "integer", double: "real" },
  postgresql: { timestamp: "timestamptz(3)", json: "jsonb", boolean: "boolean", int64: "bigint", double: "double precision" },
} as const;

/**
 * Base of all migrations: MikroORM's, plus the dialect.
 * ```ts
 * export class CreateNodes20261101 extends Migration {
 *   up(): void {
 *     const { timestamp, json } = this.types;
 *     this.addSql(`create table node (id text primary key, hostname text not null unique, labels ${json} not null, updated_at ${timestamp} not null)`);
 *   }
 * }
 * ```
 * They run in the order given to `openStore`, each once, all pending ones in one transaction. Their class names are remembered in the
 * database: a class keeps its name for ever, and what it does never changes once released.
 */
export abstract class Migration extends MikroMigration {
  get dialect(): Dialect {
    return this.driver instanceof SqliteDriver ? "sqlite" : "postgresql";
  }

  /** The column types that differ between the databases. */
  get types(): (typeof COLUMN_TYPES)[Dialect] {
    return COLUMN_TYPES[this.dialect];
  }
}

/** Of the advisory lock; any constant that all versions of us share. */
const LOCK_KEY = 0x666c_6565;

/**
 * Brings the database up to date, in one transaction that excludes every other process doing the same (an advisory lock on PostgreSQL,
 * the write lock on SQLite): of two replicas that start at once, one migrates and the other finds nothing left to do.
 */
export async function runMigrations(em: SqlEntityManager, migrations: readonly MigrationClass[], log: Logger): Promise<void> {
  const names = migrations.map((migration) => migration.name);
  if (new Set(names).size !== names.length) throw new Error(`Two migrations have the same name: ${names.join(", ")}`);
  const applied = await withRetry(() => migrateOnce(em.fork() as SqlEntityManager, migrations));
  if (applied.ran.length > 0) log.info({ migrations: applied.ran }, "database migrated");
  const unknown = applied.before.filter((name) => !names.includes(name));
  if (unknown.length > 0) log.warn({ migrations: unknown }, "the database was migrated by a newer version of this program");
}

async function migrateOnce(em: SqlEntityManager, migrations: readonly MigrationClass[]): Promise<{ before: string[]; ran: string[] }> {
  const driver = em.getDriver();
  const sqlite = driver instanceof SqliteDriver;
  await em.begin();
  try {
    if (!sqlite) {
      await em.execute("set local statement_timeout = 0");
      await em.execute("set local lock_timeout = '60s'");
      await em.execute(`select pg_advisory_xact_lock(${LOCK_KEY})`);
    }
    const id = sqlite ? "integer primary key autoincrement" : "serial primary key";
    const time = sqlite ? "datetime" : "timestamptz";
    // MikroORM's own table and columns, so that its tools can read it.
    await em.execute(
      `create table if not exists mikro_orm_migrations (id ${id}, name varchar(255), executed_at ${time} not null default current_timestamp)`,
    );
    const before = (await em.execute<Array<{ name: string }>>("select name from mikro_orm_migrations order by id")).map(({ name }) => name);
    const ran: string[] = [];
    for (const migrationClass of migrations) {
      if (before.includes(migrationClass.name)) continue;
      const migration = new migrationClass(driver, em.config);
      const ctx = em.getTransactionContext();
      if (ctx) migration.setTransactionContext(ctx);
      await migration.up();
      for (const query of migration.getQueries()) await em.execute(query);
      await em.execute("insert into mikro_orm_migrations (name) values (?)", [migrationClass.name]);
      ran.push(migrationClass.name);
    }
    await em.commit();
    return { before, ran };
  } catch (error) {
    await em.rollback().catch(() => undefined);
    throw error;
  }
}
