import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { inRoot, ROOT } from "./paths.mjs";

/** Every file at or below the paths (relative to the root), sorted, as paths relative to the root; missing paths have none. */
export function listFiles(paths, accept = () => true) {
  const files = [];
  const walk = (path) => {
    const full = inRoot(path);
    if (!existsSync(full)) return;
    if (!statSync(full).isDirectory()) {
      if (accept(path)) files.push(path);
      return;
    }
    for (const name of readdirSync(full)) walk(join(path, name));
  };
  for (const path of paths) walk(path);
  return files.sort();
}

/** A hash of names and contents, so that neither a checkout nor a copy with other times makes anything stale. */
export function fingerprint(files) {
  const hash = createHash("sha256");
  for (const file of files) {
    hash.update(`${file}\0`);
    hash.update(readFileSync(join(ROOT, file)));
    hash.update("\0");
  }
  return hash.digest("hex");
}
