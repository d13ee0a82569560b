import { cpSync, existsSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { exclusively } from "../../scripts/lib/exclusive.mjs";
import { inRoot } from "../../scripts/lib/paths.mjs";

/**
 * Copies dist/ once per test run, for the tests that start processes: a process loads parts of it while it runs, and another command
 * may rebuild it meanwhile. Where nothing is built those tests fail, and say what to run. Gives the clean-up.
 */
export default async function copyBuild() {
  // Each project of the run asks.
  if (process.env.TEST_FLEETGRAPH !== undefined || !existsSync(inRoot("dist", "cli"))) return undefined;
  const copy = mkdtempSync(join(tmpdir(), "fleetgraph-build-"));
  process.env.TEST_FLEETGRAPH = join(copy, "bin", "fleetgraph.mjs");
  await exclusively(inRoot("dist", ".built", "typescript.lock"), async () => {
    for (const folder of ["bin", "dist"]) cpSync(inRoot(folder), join(copy, folder), { recursive: true });
  });
  symlinkSync(inRoot("node_modules"), join(copy, "node_modules"));
  return () => rmSync(copy, { recursive: true, force: true });
}
