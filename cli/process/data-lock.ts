import { mkdirSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import type { SubgraphName } from "../subgraphs.ts";
import { StartError } from "./start-error.ts";

/**
 * Keeps two processes from running the same subgraph on one data directory. The lock is SQLite's own on a file, so that the system drops it
 * however the process ends. Returns the release. Throws StartError where another process holds it.
 */
export function lockDataDirectory(dataDir: string, subgraph: SubgraphName): () => void {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const database = new Database(join(dataDir, `${subgraph}.lock`), { timeout: 0 });
  try {
    database.pragma("journal_mode = MEMORY");
    database.exec("BEGIN EXCLUSIVE");
  } catch (error) {
    database.close();
    if ((error as { code?: string }).code !== "SQLITE_BUSY") throw error;
    throw new StartError(
      `Another process works on the data directory ${dataDir}: stop it first, or choose another directory with --data (dataDir).`,
    );
  }
  return () => database.close();
}
