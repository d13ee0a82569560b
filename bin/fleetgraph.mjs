#!/usr/bin/env node
// Plain JavaScript that any Node.js from 18 on can run: it finds one that is new enough, and then the command itself.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { constants } from "node:os";
import { fileURLToPath } from "node:url";

const NEEDED_MAJOR = 24;
const inPackage = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));

function stop(message) {
  process.stderr.write(`fleetgraph: ${message}\n`);
  process.exit(1);
}

/** The Node.js that npm installed beside this package: in its own node_modules, or in those that it is installed in. */
function installedNode() {
  return [inPackage("node_modules/.bin/node"), inPackage("../.bin/node")].find((path) => existsSync(path));
}

/** Runs this script again with another Node.js and ends as that does. Signals are handed on, so that stopping this process stops it, too. */
function runWith(node) {
  const child = spawn(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], {
    stdio: "inherit",
    env: { ...process.env, RESTARTED_BY_FLEETGRAPH: "1" },
  });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("error", (error) => stop(`${node} cannot be started: ${error.message}`));
  child.on("exit", (code, signal) => process.exit(code ?? 128 + (constants.signals[signal] ?? 0)));
}

if (Number.parseInt(process.versions.node, 10) < NEEDED_MAJOR) {
  const node = process.env.RESTARTED_BY_FLEETGRAPH === "1" ? undefined : installedNode();
  if (node === undefined)
    stop(`Node.js ${NEEDED_MAJOR} or newer is needed, this is ${process.version}. \`npm ci\` in ${inPackage("")} brings one.`);
  runWith(node);
} else {
  const main = new URL("../dist/cli/main.js", import.meta.url);
  if (!existsSync(main)) stop("it is not built yet: run `npm run build` first (`npm start` does it by itself).");
  const { run } = await import(main.href);
  const code = await run(process.argv.slice(2));
  // What a failed start left open must not keep the process.
  if (code !== 0) process.exit(code);
}
