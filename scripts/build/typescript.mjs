import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { capture } from "../lib/child.mjs";
import { listFiles } from "../lib/fingerprint.mjs";
import { inRoot, program } from "../lib/paths.mjs";

const FOLDERS = ["platform", "subgraphs", "gateway", "agent", "cli", "schema"];
const isBuilt = (file) => !file.startsWith("gateway/graphiql/") && !file.endsWith(".md");

export function typeScriptInputs() {
  return listFiles([...FOLDERS, "tsconfig.json", "tsconfig.build.json", "package.json", "package-lock.json"], isBuilt);
}

/** Compiles into dist/, copies what is read at run time beside it, and removes what has no source any more. */
export async function compileTypeScript(node, inputs) {
  process.stderr.write("fleetgraph: building\n");
  const { code, text } = await capture(node, [program("tsc"), "-p", inRoot("tsconfig.build.json"), "--pretty", "false"]);
  if (code !== 0) throw new Error(`the TypeScript does not compile\n${text.trim()}`);
  const products = new Set();
  for (const file of inputs) {
    if (file.startsWith("tsconfig") || file === "package-lock.json") continue;
    if (file.endsWith(".ts")) {
      products.add(file.replace(/\.ts$/, ".js"));
      products.add(file.replace(/\.ts$/, ".js.map"));
      continue;
    }
    products.add(file);
    copyWhenChanged(inRoot(file), inRoot("dist", file));
  }
  for (const folder of FOLDERS) removeOthers(folder, products);
}

function copyWhenChanged(from, to) {
  if (existsSync(to) && readFileSync(from).equals(readFileSync(to))) return;
  mkdirSync(dirname(to), { recursive: true });
  copyFileSync(from, to);
}

function removeOthers(path, products) {
  const full = inRoot("dist", path);
  if (!existsSync(full)) return;
  if (!statSync(full).isDirectory()) {
    if (!products.has(path)) rmSync(full);
    return;
  }
  for (const name of readdirSync(full)) removeOthers(join(path, name), products);
}
