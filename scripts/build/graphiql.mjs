import { cpSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, utimesSync } from "node:fs";
import { constants, homedir } from "node:os";
import { join } from "node:path";
import { mustRun } from "../lib/child.mjs";
import { listFiles } from "../lib/fingerprint.mjs";
import { inRoot } from "../lib/paths.mjs";

/** Bundles are kept outside the working tree, by fingerprint: bundling takes several seconds, and its inputs change seldom. */
const CACHE = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "fleetgraph", "graphiql");
const KEPT = 4;

export function graphiqlInputs() {
  return listFiles(["gateway/graphiql", "package-lock.json"], (file) => !file.endsWith(".md"));
}

/** Bundles gateway/graphiql into dist/graphiql, or takes the bundle of the same inputs from the cache. */
export async function bundleGraphiql(node, print, background) {
  const cached = join(CACHE, print);
  const staging = inRoot("dist", `.graphiql-${process.pid}`);
  for (const name of readdirSync(inRoot("dist"))) {
    if (name.startsWith(".graphiql-")) rmSync(inRoot("dist", name), { recursive: true, force: true });
  }
  if (existsSync(cached)) {
    cpSync(cached, staging, { recursive: true });
    utimesSync(cached, new Date(), new Date());
  } else {
    process.stderr.write("fleetgraph: bundling GraphiQL\n");
    const priority = background ? constants.priority.PRIORITY_LOW : constants.priority.PRIORITY_NORMAL;
    const args = [inRoot("scripts/build/vite-build.mjs"), String(priority), inRoot("gateway/graphiql"), staging];
    await mustRun(node, args);
    keep(staging, cached);
  }
  const target = inRoot("dist", "graphiql");
  rmSync(target, { recursive: true, force: true });
  renameSync(staging, target);
}

/** The cache is a help, not a need: a home that cannot be written is no error. */
function keep(bundle, cached) {
  try {
    const partial = `${cached}.${process.pid}`;
    mkdirSync(CACHE, { recursive: true });
    cpSync(bundle, partial, { recursive: true });
    renameSync(partial, cached);
    const age = (name) => statSync(join(CACHE, name)).mtimeMs;
    const old = readdirSync(CACHE)
      .sort((a, b) => age(b) - age(a))
      .slice(KEPT);
    for (const name of old) rmSync(join(CACHE, name), { recursive: true, force: true });
  } catch (error) {
    process.stderr.write(`fleetgraph: the bundle is not cached: ${error.message}\n`);
  }
}
