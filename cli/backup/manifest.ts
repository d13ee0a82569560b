import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { z } from "zod";
import { StartError } from "../process/start-error.ts";

export const MANIFEST_FILE = "manifest.json";

const digest = z.string().regex(/^[\da-f]{64}$/);
/** A name without a way out of its folder. */
const fileName = z.string().regex(/^[\w][\w.-]*$/);

const manifestType = z.object({
  /** Of this layout. */
  format: z.literal(1),
  /** The release that wrote it. */
  version: z.string(),
  createdAt: z.iso.datetime(),
  databases: z.record(fileName, z.object({ dialect: z.enum(["sqlite", "postgresql"]), file: fileName, sha256: digest })),
  /** Folders of keys and certificates: file name → digest. */
  folders: z.record(fileName, z.record(fileName, digest)),
});

/** What a backup holds: `<database>.db` or `.jsonl`, and a folder each for the CA, the token key, the keys of secrets and the local agent. */
export type Manifest = z.infer<typeof manifestType>;

export async function writeManifest(dir: string, manifest: Manifest): Promise<void> {
  await writeFile(join(dir, MANIFEST_FILE), `${JSON.stringify(manifest, null, 2)}\n`, { mode: 0o600, flag: "wx" });
}

/** Reads the manifest and checks every file against it. Throws StartError for what is no backup, or a damaged one. */
export async function readManifest(dir: string): Promise<Manifest> {
  const manifest = parse(dir, await readFile(join(dir, MANIFEST_FILE), "utf8").catch(() => null));
  const files = Object.values(manifest.databases).map(({ file, sha256 }) => [file, sha256]);
  for (const [folder, entries] of Object.entries(manifest.folders)) {
    for (const [file, sha256] of Object.entries(entries)) files.push([join(folder, file), sha256]);
  }
  for (const [file, sha256] of files as Array<[string, string]>) {
    const found = await sha256Of(join(dir, file)).catch(() => null);
    if (found !== sha256) throw new StartError(`The backup is damaged: ${file} is ${found === null ? "missing" : "not what was written"}.`);
  }
  return manifest;
}

export async function sha256Of(file: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(file), hash);
  return hash.digest("hex");
}

function parse(dir: string, text: string | null): Manifest {
  if (text === null) throw new StartError(`${dir} is not a backup: it has no ${MANIFEST_FILE}.`);
  try {
    return manifestType.parse(JSON.parse(text));
  } catch (error) {
    throw new StartError(`The manifest of the backup ${dir} is damaged, or from a newer release.`, { cause: error });
  }
}
