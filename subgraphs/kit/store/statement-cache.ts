import type Database from "better-sqlite3";

const MAX_STATEMENTS = 500;

/**
 * The same database, for which Kysely's `prepare` (called for every query, whose statements end with their call) finds a statement that was
 * prepared before. Compiling one costs as much as running it. The least recently used go first.
 */
export function withStatementCache(database: Database.Database): Pick<Database.Database, "close" | "prepare"> {
  const statements = new Map<string, Database.Statement>();
  return {
    close: () => database.close(),
    prepare(sql: string) {
      const statement = statements.get(sql) ?? database.prepare(sql);
      statements.delete(sql);
      statements.set(sql, statement);
      if (statements.size > MAX_STATEMENTS) statements.delete(statements.keys().next().value as string);
      return statement;
    },
  } as Pick<Database.Database, "close" | "prepare">;
}
