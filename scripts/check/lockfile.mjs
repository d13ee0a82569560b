import { readFileSync } from "node:fs";
import { inRoot } from "../lib/paths.mjs";

/** An exact pin: what is installed is what was tested. */
const EXACT = /^\d+\.\d+\.\d+(-[\w.]+)?$/;

/** package.json has exact pins only, and package-lock.json no download addresses: those name whoever's registry wrote it. */
export function checkLockfile() {
  const lockText = readFileSync(inRoot("package-lock.json"), "utf8");
  const lines = lockText.split("\n").flatMap((line, index) => (line.includes('"resolved"') ? [index + 1] : []));
  if (lines.length > 0) {
    throw new Error(
      `package-lock.json has "resolved" on line ${lines[0]} and ${lines.length - 1} others; .npmrc's omit-lockfile-registry-resolved leaves it out`,
    );
  }
  const manifest = JSON.parse(readFileSync(inRoot("package.json"), "utf8"));
  const loose = ["dependencies", "devDependencies", "optionalDependencies", "overrides"].flatMap((list) =>
    Object.entries(manifest[list] ?? {}).filter(([, version]) => !EXACT.test(version)),
  );
  if (loose.length > 0) throw new Error(`not pinned exactly: ${loose.map(([name, version]) => `${name} ${version}`).join(", ")}`);
  const packages = JSON.parse(lockText).packages;
  for (const list of ["dependencies", "devDependencies", "optionalDependencies"]) {
    if (JSON.stringify(packages[""][list] ?? {}) !== JSON.stringify(manifest[list] ?? {})) {
      throw new Error(`package-lock.json does not belong to package.json's ${list}`);
    }
  }
  demandEveryPlatform(packages);
}

/** npm leaves out of the lock what it could not fetch for other platforms, and `npm ci` then refuses the lock. */
function demandEveryPlatform(packages) {
  const locked = new Set(Object.keys(packages).map((path) => path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length)));
  for (const [path, entry] of Object.entries(packages)) {
    const missing = Object.keys(entry.optionalDependencies ?? {}).filter((name) => !locked.has(name));
    if (missing.length > 0) {
      const name = path === "" ? "package.json" : `${path} ${entry.version}`;
      throw new Error(`package-lock.json lacks ${missing.join(", ")} of ${name}: pin an earlier release of it`);
    }
  }
}
