import { existsSync } from "node:fs";
import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import type { Config } from "../../platform/config/settings.ts";
import { backupDatabase } from "../../subgraphs/kit/store/backup.ts";
import { StartError } from "../process/start-error.ts";
import { SUBGRAPHS } from "../subgraphs.ts";
import { fleetgraphVersion } from "../version.ts";
import { databaseWork, dialectOf } from "./database-work.ts";
import { copyFolder, keyFolders } from "./folders.ts";
import { type Manifest, sha256Of, writeManifest } from "./manifest.ts";

/**
 * Writes databases, CA, token key, keys of secrets and the local agent's identity to a new folder, while everything goes on. The manifest comes last:
 * a folder without one is no backup. Gives one line per part. Throws StartError for a folder that is in use, or where nothing is found.
 */
export async function backUp(config: Config, dir: string): Promise<string[]> {
  if (existsSync(dir) && (await readdir(dir)).length > 0) throw new StartError(`${dir} is not empty: a backup needs a folder of its own.`);
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const manifest: Manifest = { format: 1, version: fleetgraphVersion(), createdAt: new Date().toISOString(), databases: {}, folders: {} };
  const told: string[] = [];
  for (const name of SUBGRAPHS) {
    const url = config[`database.${name}`];
    const dialect = dialectOf(url);
    const file = dialect === "sqlite" ? `${name}.db` : `${name}.jsonl`;
    if (await databaseWork(name, backupDatabase(url, join(dir, file)))) {
      manifest.databases[name] = { dialect, file, sha256: await sha256Of(join(dir, file)) };
      told.push(`database ${name}: ${file}`);
    } else {
      told.push(`database ${name}: left out, there is none yet`);
    }
  }
  for (const [name, folder] of Object.entries(keyFolders(config))) {
    const digests = await copyFolder(folder, join(dir, name));
    if (digests !== null) manifest.folders[name] = digests;
    told.push(digests === null ? `${name}: left out, there is none` : `${name}: ${Object.keys(digests).length} files`);
  }
  if (Object.keys(manifest.databases).length === 0) throw new StartError(`There is no database to back up in ${config.dataDir} (dataDir).`);
  await writeManifest(dir, manifest);
  return told;
}
