import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { chmod, copyFile, mkdir, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import Database from "better-sqlite3";
import { parseDatabaseUrl } from "./database-url.ts";
import { dumpPostgres, postgresHasTables, restorePostgres } from "./postgresql-dump.ts";

/**
 * Writes a consistent copy of a subgraph's database to a new file (mode 0600), while others go on reading and writing.
 * SQLite: a compact database file. PostgreSQL: JSON lines, read in one repeatable-read transaction, ended by a count.
 * False where there is no such SQLite file yet.
 * @throws Error where the target exists, or the database cannot be read.
 */
export async function backupDatabase(url: string, targetFile: string): Promise<boolean> {
  const address = parseDatabaseUrl(url);
  if (existsSync(targetFile)) throw new Error(`${targetFile} exists already.`);
  if (address.dialect === "sqlite" && !existsSync(address.file)) return false;
  await mkdir(dirname(targetFile), { recursive: true, mode: 0o700 });
  const draft = `${targetFile}.partial`;
  await rm(draft, { force: true });
  try {
    if (address.dialect === "postgresql") await dumpPostgres(address.url, draft);
    else copySqlite(address.file, draft);
    await chmod(draft, 0o600);
    await syncFile(draft);
    await rename(draft, targetFile);
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
  return true;
}

/** True where there is something that a restore would replace: a SQLite file, or tables. */
export async function holdsData(url: string): Promise<boolean> {
  const address = parseDatabaseUrl(url);
  return address.dialect === "sqlite" ? existsSync(address.file) : postgresHasTables(address.url, address.database);
}

/**
 * Puts a copy in the place of a database that no process uses, and gives its event log a new epoch: cursors from after the backup name
 * events that no longer exist, and end with CURSOR_EXPIRED. PostgreSQL: in one transaction, into tables that are created as they were.
 * Checks the copy first; a damaged one changes nothing.
 * @throws Error where the database holds something and `force` is false, or the copy is damaged.
 */
export async function restoreDatabase(file: string, url: string, { force = false } = {}): Promise<void> {
  const address = parseDatabaseUrl(url);
  const epoch = randomBytes(8).toString("hex");
  if (address.dialect === "postgresql") await restorePostgres(file, address.url, address.database, epoch, force);
  else await restoreSqlite(file, address.file, epoch, force);
}

function copySqlite(source: string, target: string): void {
  const database = new Database(source, { fileMustExist: true, timeout: 10_000 });
  try {
    // One read transaction: a snapshot of the WAL; writers go on.
    database.prepare("vacuum into ?").run(target);
  } finally {
    database.close();
  }
}

async function restoreSqlite(copy: string, target: string, epoch: string, force: boolean): Promise<void> {
  if (existsSync(target) && !force) throw new Error(`${target} exists already.`);
  await mkdir(dirname(target), { recursive: true, mode: 0o700 });
  const draft = `${target}.restoring`;
  await copyFile(copy, draft);
  try {
    await chmod(draft, 0o600);
    prepareSqliteCopy(draft, epoch);
    await syncFile(draft);
    // Left behind, they would be replayed into the restored database.
    for (const suffix of ["-wal", "-shm"]) await rm(target + suffix, { force: true });
    await rename(draft, target);
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
}

function prepareSqliteCopy(file: string, epoch: string): void {
  let database: Database.Database | null = null;
  try {
    database = new Database(file);
    const [check] = database.pragma("integrity_check") as Array<{ integrity_check: string }>;
    if (check?.integrity_check !== "ok") throw new Error(check?.integrity_check);
    if (database.prepare("update event_state set epoch = ?").run(epoch).changes !== 1) throw new Error("it has no epoch");
    // The copy is one file until it is opened for work.
    database.pragma("journal_mode = DELETE");
  } catch (error) {
    throw new Error(`The copy of the database is damaged: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  } finally {
    database?.close();
  }
}

async function syncFile(file: string): Promise<void> {
  const handle = await open(file, "r+");
  await handle.sync().finally(() => handle.close());
}
