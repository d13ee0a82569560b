import { chmodSync, mkdirSync } from "node:fs";
import { dirname } from "node:path";
import Database from "better-sqlite3";

/**
 * How long a statement may hold up the whole process while another process writes: short, because waiting is done outside, without
 * blocking (retry.ts). A commit of another process takes a few milliseconds.
 */
const BUSY_TIMEOUT_MS = 25;

/**
 * Opens the database of one subgraph, created if missing (file 0600 in a directory 0700).
 *
 * WAL: readers never wait for a writer. synchronous=FULL: the log is synced at each commit. NORMAL would survive SIGKILL as well, but
 * after a power cut it loses the last commits, and then their sequence numbers are given out again: a client that had seen them would
 * resume behind a number whose event is another one now. FULL costs one fsync a commit.
 */
export function openSqlite(file: string): Database.Database {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const database = new Database(file, { timeout: 5_000 });
  try {
    chmodSync(file, 0o600);
    database.pragma("journal_mode = WAL");
    database.pragma("synchronous = FULL");
    database.pragma("foreign_keys = ON");
    database.pragma("journal_size_limit = 67108864");
    database.pragma("cache_size = -16000");
    database.pragma("temp_store = MEMORY");
    database.pragma(`busy_timeout = ${BUSY_TIMEOUT_MS}`);
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

/** A second, read-only connection: reads of the event log see committed data only and never wait for a transaction of this process. */
export function openSqliteReader(file: string): Database.Database {
  const database = new Database(file, { readonly: true, fileMustExist: true, timeout: BUSY_TIMEOUT_MS });
  database.pragma("cache_size = -8000");
  return database;
}
