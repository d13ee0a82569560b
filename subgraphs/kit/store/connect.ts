import { MikroORM as PostgresOrm } from "@mikro-orm/postgresql";
import type { AnyEntity, EntityClass, EntitySchema, SqlEntityManager } from "@mikro-orm/sqlite";
import { MikroORM as SqliteOrm } from "@mikro-orm/sqlite";
import type { Logger } from "../../../platform/observability/log.ts";
import { type AppendEvents, postgresAppend, sqliteAppend } from "../events/event-append.ts";
import type { Dialect } from "./dialect.ts";
import { ensurePostgresDatabase, openPool, type PoolLimits } from "./postgresql-database.ts";
import { GuardedPostgresDialect } from "./postgresql-dialect.ts";
import { PoolSql, type Sql, SqliteSql } from "./sql.ts";
import { openSqlite, openSqliteReader } from "./sqlite-database.ts";
import { ImmediateSqliteDialect } from "./sqlite-dialect.ts";

export interface ConnectOptions extends PoolLimits {
  /** The subgraph's name: it is in cursors, bus subjects and logs. */
  name: string;
  /** `sqlite:/path/file.db` or `postgresql://…/database`; created if missing. One database belongs to one subgraph. */
  url: string;
  entities: Array<EntityClass<AnyEntity> | EntitySchema>;
  log: Logger;
}

/** What differs between the databases, for Store. */
export interface StoreParts {
  name: string;
  dialect: Dialect;
  log: Logger;
  em: SqlEntityManager;
  /** Reads outside of transactions. */
  sql: Sql;
  append: AppendEvents;
  close: () => Promise<void>;
}

/** What is the same on both. `contextName` keeps two stores in one process apart. */
function ormOptions(options: ConnectOptions, log: Logger) {
  return {
    entities: options.entities,
    contextName: options.name,
    ensureDatabase: false,
    debug: false,
    logger: (message: string) => log.debug(message),
    discovery: { warnWhenNoEntities: false },
  };
}

/** Opens a SQLite file: one connection that writes, one that reads the log. */
export async function connectSqlite(options: ConnectOptions, file: string, log: Logger): Promise<StoreParts> {
  const database = openSqlite(file);
  const orm = await SqliteOrm.init({
    ...ormOptions(options, log),
    dbName: file,
    driverOptions: () => new ImmediateSqliteDialect(database, options.name),
  });
  const reader = openSqliteReader(file);
  return {
    name: options.name,
    dialect: "sqlite",
    log,
    em: orm.em as SqlEntityManager,
    sql: new SqliteSql(reader),
    append: sqliteAppend(database),
    close: async () => {
      reader.close();
      await orm.close(true);
      database.close();
    },
  };
}

/** Opens a pool on a PostgreSQL database, which is created where it is missing. */
export async function connectPostgres(options: ConnectOptions, database: string, log: Logger): Promise<StoreParts> {
  await ensurePostgresDatabase(options.url, database);
  const pool = openPool(options.url, options.name, options, log);
  const orm = await PostgresOrm.init({
    ...ormOptions(options, log),
    dbName: database,
    driverOptions: () => new GuardedPostgresDialect(pool, options.name),
  });
  return {
    name: options.name,
    dialect: "postgresql",
    log,
    em: orm.em as unknown as SqlEntityManager,
    sql: new PoolSql(pool, options.name),
    append: postgresAppend,
    close: async () => {
      await orm.close(true);
      // MikroORM ends the pool only when it has used it.
      if (!pool.ended) await pool.end();
    },
  };
}
