import { existsSync, readFileSync } from "node:fs";
import { runToEnd } from "./lib/child.mjs";
import { exclusively } from "./lib/exclusive.mjs";
import { inRoot } from "./lib/paths.mjs";

/**
 * Makes node_modules what package-lock.json says, and does nothing where it is so already, however it was installed.
 * npm keeps its own record of what it installed (node_modules/.package-lock.json): the two are compared package by package.
 */
export async function ensureInstalled() {
  if (staleReason() === null) return;
  await exclusively(inRoot(".cache", "install.lock"), async () => {
    const reason = staleReason();
    if (reason === null) return;
    process.stderr.write(`fleetgraph: installing packages (${reason})\n`);
    const args = ["ci", "--no-audit", "--no-fund", "--loglevel=error"];
    const npm = process.env.npm_execpath;
    const code = npm === undefined ? await runToEnd("npm", args) : await runToEnd(process.execPath, [npm, ...args]);
    if (code !== 0) throw new Error(`npm ci ended with ${code}`);
  });
}

/** Null where everything that package-lock.json wants on this machine is installed. */
function staleReason() {
  const recordFile = inRoot("node_modules", ".package-lock.json");
  if (!existsSync(recordFile)) return "node_modules is missing";
  const wanted = JSON.parse(readFileSync(inRoot("package-lock.json"), "utf8")).packages;
  const installed = JSON.parse(readFileSync(recordFile, "utf8")).packages;
  for (const [path, entry] of Object.entries(wanted)) {
    if (path === "") continue;
    const found = installed[path];
    if (found === undefined) {
      // Optional packages for other systems are left out by npm.
      if (entry.optional || entry.peer) continue;
      return `${path} is missing`;
    }
    if (found.version !== entry.version || found.integrity !== entry.integrity) return `${path} is not ${entry.version}`;
  }
  return null;
}
