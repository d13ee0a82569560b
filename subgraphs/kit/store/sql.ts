import type Database from "better-sqlite3";
import type { Pool } from "pg";
import { guardAcquire, refuseInsideTransaction } from "./transaction-scope.ts";

export type SqlParameter = string | number | null | readonly string[] | readonly number[] | ReadonlyArray<string | null>;

/**
 * SQL with `?` for parameters, for the few hot statements of the kit; entities go through MikroORM. Integers come back as number on
 * SQLite and as text on PostgreSQL (int8): read them with `Number(…)`.
 */
export interface Sql {
  query<Row extends object>(sql: string, parameters?: readonly SqlParameter[]): Promise<Row[]>;
}

/** Statements on one better-sqlite3 connection, prepared once each. */
export class SqliteSql implements Sql {
  readonly #database: Database.Database;
  readonly #statements = new Map<string, Database.Statement>();

  constructor(database: Database.Database) {
    this.#database = database;
  }

  async query<Row extends object>(sql: string, parameters: readonly SqlParameter[] = []): Promise<Row[]> {
    refuseInsideTransaction("A read of the event log");
    let statement = this.#statements.get(sql);
    if (!statement) {
      statement = this.#database.prepare(sql);
      // The kit's statements are constants; the bound is for a caller that builds its SQL.
      if (this.#statements.size < 200) this.#statements.set(sql, statement);
    }
    if (statement.reader) return statement.all(...parameters) as Row[];
    statement.run(...parameters);
    return [];
  }
}

/** Statements on a PostgreSQL pool, outside of any transaction. */
export class PoolSql implements Sql {
  readonly #pool: Pool;
  readonly #store: string;

  constructor(pool: Pool, store: string) {
    this.#pool = pool;
    this.#store = store;
  }

  async query<Row extends object>(sql: string, parameters: readonly SqlParameter[] = []): Promise<Row[]> {
    guardAcquire(this.#store);
    const { rows } = await this.#pool.query(numbered(sql), parameters as unknown[]);
    return rows as Row[];
  }
}

const numberedSql = new Map<string, string>();

/** `?` → `$1`, `$2`, … The kit's SQL has no question mark in a literal. */
export function numbered(sql: string): string {
  let text = numberedSql.get(sql);
  if (text === undefined) {
    let count = 0;
    text = sql.replaceAll("?", () => `$${++count}`);
    if (numberedSql.size < 500) numberedSql.set(sql, text);
  }
  return text;
}
