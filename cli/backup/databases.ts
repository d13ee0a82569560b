import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { chmod, copyFile, mkdir, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import Database from "better-sqlite3";
import { Client } from "pg";
import { type DatabaseAddress, parseDatabaseUrl } from "../../subgraphs/kit/store/database-url.ts";
import { ensurePostgresDatabase } from "../../subgraphs/kit/store/postgresql-database.ts";
import { StartError } from "../process/start-error.ts";
import { runPostgresqlTool } from "./postgresql-tools.ts";

/**
 * Writes a consistent copy of a database to a file while it is in use; false where there is no such database yet.
 * SQLite: a database file. PostgreSQL: an archive of pg_dump.
 */
export async function dumpDatabase(address: DatabaseAddress, file: string): Promise<boolean> {
  if (address.dialect === "postgresql") {
    await runPostgresqlTool("pg_dump", address.url, ["--format=custom", "--no-owner", "--no-privileges", `--file=${file}`]);
    await chmod(file, 0o600);
    return true;
  }
  if (!existsSync(address.file)) return false;
  const database = new Database(address.file, { fileMustExist: true, timeout: 10_000 });
  try {
    database.prepare("VACUUM INTO ?").run(file);
  } finally {
    database.close();
  }
  await chmod(file, 0o600);
  return true;
}

/** True where the database holds something that a restore would replace. */
export async function holdsData(address: DatabaseAddress): Promise<boolean> {
  if (address.dialect === "sqlite") return existsSync(address.file);
  await ensurePostgresDatabase(address.url, address.database);
  const found = await query(address.url, "select 1 from information_schema.tables where table_schema = current_schema() limit 1");
  return found.length > 0;
}

/**
 * Puts a dump in the place of a database that nobody uses. Its event log gets a new epoch: cursors from after the backup
 * name events that no longer exist, and end with CURSOR_EXPIRED.
 */
export async function restoreDatabase(address: DatabaseAddress, file: string): Promise<void> {
  const epoch = randomBytes(8).toString("hex");
  if (address.dialect === "sqlite") return restoreSqlite(address.file, file, epoch);
  await ensurePostgresDatabase(address.url, address.database);
  const options = ["--clean", "--if-exists", "--no-owner", "--no-privileges", "--single-transaction", "--exit-on-error"];
  await runPostgresqlTool("pg_restore", address.url, [...options, `--dbname=${address.database}`, file]);
  await query(address.url, "update event_state set epoch = $1", [epoch]);
}

async function restoreSqlite(target: string, dump: string, epoch: string): Promise<void> {
  await mkdir(dirname(target), { recursive: true, mode: 0o700 });
  const draft = `${target}.restoring`;
  await rm(draft, { force: true });
  await copyFile(dump, draft);
  await chmod(draft, 0o600);
  const database = new Database(draft);
  try {
    const [check] = database.pragma("quick_check") as Array<{ quick_check: string }>;
    if (check?.quick_check !== "ok") throw new StartError(`The copy of the database is damaged: ${check?.quick_check}.`);
    database.prepare("update event_state set epoch = ?").run(epoch);
  } finally {
    database.close();
  }
  // Left behind, they would be replayed into the restored database.
  for (const suffix of ["-wal", "-shm"]) await rm(target + suffix, { force: true });
  await rename(draft, target);
}

/** The database of a setting's URL. Throws StartError. */
export function databaseAddress(url: string): DatabaseAddress {
  try {
    return parseDatabaseUrl(url);
  } catch (error) {
    throw new StartError((error as Error).message, { cause: error });
  }
}

async function query(url: string, sql: string, values: string[] = []): Promise<unknown[]> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 10_000, statement_timeout: 15_000 });
  await client.connect();
  try {
    return (await client.query(sql, values)).rows;
  } finally {
    await client.end();
  }
}
