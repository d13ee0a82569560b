import { existsSync, readFileSync } from "node:fs";

/** This release's version, from package.json, which lies beside cli/ in the sources and above dist/ once built. */
export function fleetgraphVersion(): string {
  for (const path of ["../package.json", "../../package.json"]) {
    const url = new URL(path, import.meta.url);
    if (existsSync(url)) return (JSON.parse(readFileSync(url, "utf8")) as { version: string }).version;
  }
  return "unknown";
}
