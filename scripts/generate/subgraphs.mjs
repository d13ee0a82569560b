import { existsSync, readdirSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { inRoot } from "../lib/paths.mjs";

/** Name and SDL of every subgraph in dist/subgraphs, by name: each main.js exports `<name>Sdl()`, which needs no database. */
export async function emitSubgraphs() {
  const names = readdirSync(inRoot("dist/subgraphs"))
    .filter((name) => name !== "kit" && existsSync(inRoot("dist/subgraphs", name, "main.js")))
    .sort();
  const subgraphs = [];
  for (const name of names) {
    const main = await import(pathToFileURL(inRoot("dist/subgraphs", name, "main.js")).href);
    const emit = main[`${name}Sdl`];
    if (typeof emit !== "function") throw new Error(`subgraphs/${name}/main.ts does not export ${name}Sdl()`);
    subgraphs.push({ name, sdl: emit() });
  }
  return subgraphs;
}
