import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Config } from "../../platform/config/settings.ts";
import { holdsData, restoreDatabase } from "../../subgraphs/kit/store/backup.ts";
import { lockDataDirectory } from "../process/data-lock.ts";
import { StartError } from "../process/start-error.ts";
import { SUBGRAPHS } from "../subgraphs.ts";
import { databaseWork, dialectOf } from "./database-work.ts";
import { keyFolders, replaceFolder } from "./folders.ts";
import { readManifest } from "./manifest.ts";

/**
 * Puts a backup in place. Nothing is touched before the whole backup was checked. Throws StartError where a process works on the data,
 * where there is data already (unless `force`), and where the backup is of another kind of database.
 */
export async function restore(config: Config, dir: string, force: boolean): Promise<string[]> {
  const manifest = await readManifest(dir);
  const databases = SUBGRAPHS.flatMap((name) => {
    const saved = manifest.databases[name];
    return saved === undefined ? [] : [{ name, saved, url: config[`database.${name}`] }];
  });
  for (const { name, saved, url } of databases) {
    const dialect = dialectOf(url);
    if (saved.dialect !== dialect) {
      throw new StartError(`The backup of ${name} is of ${saved.dialect}, but database.${name} is ${dialect}.`);
    }
  }
  const folders = Object.entries(keyFolders(config)).filter(([name]) => manifest.folders[name] !== undefined);
  const releases = SUBGRAPHS.map((name) => lockDataDirectory(config.dataDir, name));
  try {
    if (!force) {
      for (const { name, url } of databases) if (await databaseWork(name, holdsData(url))) throw inTheWay(`the database of ${name}`);
      for (const [name, folder] of folders) if (existsSync(folder)) throw inTheWay(`the folder ${folder} (${name})`);
    }
    const told: string[] = [];
    for (const { name, saved, url } of databases) {
      await databaseWork(name, restoreDatabase(join(dir, saved.file), url, { force }));
      told.push(`database ${name}: restored; watches start anew`);
    }
    for (const [name, folder] of folders) {
      await replaceFolder(join(dir, name), folder);
      told.push(`${name}: restored`);
    }
    return told;
  } finally {
    for (const release of releases) release();
  }
}

function inTheWay(what: string): StartError {
  return new StartError(`There is ${what} already: --force replaces it by the backup's.`);
}
