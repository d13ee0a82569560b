import { capture } from "../lib/child.mjs";
import { inRoot, program } from "../lib/paths.mjs";

const PLAIN = { ...process.env, NO_COLOR: "1", FORCE_COLOR: "0" };

/** Runs an installed tool by this Node.js; throws with what it said where it fails. */
async function tool(file, args, readable = (text) => text) {
  const { code, text } = await capture(process.execPath, [file, ...args], { env: PLAIN });
  if (code !== 0) throw new Error(readable(text).trim());
}

export async function checkTypes() {
  await tool(program("tsc"), ["--noEmit", "--pretty", "false"]);
  await tool(program("tsc"), ["--noEmit", "--pretty", "false", "-p", inRoot("gateway/graphiql")]);
}

export async function checkFormatAndLint() {
  await tool(program("biome"), ["check", "--error-on-warnings", "--max-diagnostics=200"]);
}

/** It reads TypeScript by swc, and would say with every failure that it has no TypeScript compiler. */
export async function checkImports() {
  const folders = ["platform", "subgraphs", "gateway", "agent", "cli", "schema", "test", "scripts", "bin"];
  await tool(program("depcruise"), ["--config", ".dependency-cruiser.mjs", "--output-type", "err-long", ...folders], (text) =>
    text.replace(/‼ missing-tsc-transpiler.*/s, ""),
  );
}

export async function checkUnused() {
  await tool(program("knip"), []);
}

export async function checkProtoStyle() {
  const { code, text } = await capture(program("buf"), ["lint"]);
  if (code !== 0) throw new Error(text.trim());
}
