import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { exclusively } from "../lib/exclusive.mjs";
import { fingerprint } from "../lib/fingerprint.mjs";
import { inRoot } from "../lib/paths.mjs";
import { bundleGraphiql, graphiqlInputs } from "./graphiql.mjs";
import { compileTypeScript, typeScriptInputs } from "./typescript.mjs";

/** dist/ without GraphiQL: compiled TypeScript and the files that it reads at run time. Does nothing where that is current. */
export function buildTypeScript(node) {
  return whenStale("typescript", typeScriptInputs, "dist/cli", (inputs) => compileTypeScript(node, inputs));
}

/** dist/graphiql. `background` gives way to other processes. */
export function buildGraphiql(node, { background = false }) {
  return whenStale("graphiql", graphiqlInputs, "dist/graphiql/index.html", (_inputs, print) => bundleGraphiql(node, print, background));
}

/** Runs `build` where the inputs have changed since it last succeeded, or where its product is gone. */
async function whenStale(name, listInputs, product, build) {
  const stampFile = inRoot("dist", ".built", name);
  const isCurrent = (print) => existsSync(inRoot(product)) && existsSync(stampFile) && readFileSync(stampFile, "utf8") === print;
  if (isCurrent(fingerprint(listInputs()))) return;
  await exclusively(inRoot("dist", ".built", `${name}.lock`), async () => {
    const inputs = listInputs();
    const print = fingerprint(inputs);
    if (isCurrent(print)) return;
    await build(inputs, print);
    mkdirSync(dirname(stampFile), { recursive: true });
    writeFileSync(stampFile, print);
  });
}
