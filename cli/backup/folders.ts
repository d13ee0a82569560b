import { existsSync } from "node:fs";
import { chmod, copyFile, mkdir, readdir, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Config } from "../../platform/config/settings.ts";
import { sha256Of } from "./manifest.ts";

/** The folders of keys and certificates, by their name in the backup. */
export function keyFolders(config: Config): Record<string, string> {
  return { ca: config["tls.caDir"], keys: config["auth.keyDir"], secrets: config["secrets.keyDir"], agent: config["agent.stateDir"] };
}

/** Copies the files of a folder (it has no others inside), and gives their digests; null where the folder is not there. */
export async function copyFolder(from: string, to: string): Promise<Record<string, string> | null> {
  if (!existsSync(from)) return null;
  await mkdir(to, { recursive: true, mode: 0o700 });
  const digests: Record<string, string> = {};
  for (const entry of await readdir(from, { withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const target = join(to, entry.name);
    await copyFile(join(from, entry.name), target);
    await chmod(target, (await stat(join(from, entry.name))).mode & 0o777);
    digests[entry.name] = await sha256Of(target);
  }
  return digests;
}

/** Puts a copy in the place of a folder in one step; what was there is gone. */
export async function replaceFolder(from: string, target: string): Promise<void> {
  await mkdir(dirname(target), { recursive: true, mode: 0o700 });
  const [draft, old] = [`${target}.restoring`, `${target}.replaced`];
  await rm(draft, { recursive: true, force: true });
  await rm(old, { recursive: true, force: true });
  await copyFolder(from, draft);
  if (existsSync(target)) await rename(target, old);
  await rename(draft, target);
  await rm(old, { recursive: true, force: true });
}
