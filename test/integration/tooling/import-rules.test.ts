import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));

/** A small tree in which each file breaks one rule. */
const FILES = {
  "schema/a.ts": 'export { a } from "../platform/a.ts";',
  "platform/a.ts": 'export const a = 1;\nexport type { K } from "../subgraphs/kit/k.ts";',
  "subgraphs/kit/k.ts": "export type K = 1;",
  "subgraphs/kit/l.ts": 'export { n } from "../nodes/n.ts";',
  "subgraphs/nodes/n.ts": "export const n = 1;",
  "subgraphs/clusters/c.ts":
    'import type { N } from "../nodes/n.ts";\nexport type C = N;\nexport async function f() { await using x = g(); }',
  "gateway/a.ts": 'import "../subgraphs/kit/k.ts";\nimport "./b.ts";',
  "gateway/b.ts": 'import "./a.ts";',
  "agent/a.ts": 'import "../gateway/b.ts";\nimport "vitest";',
};

describe("the import rules", () => {
  let folder: string;
  let report: string;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "fleetgraph-imports-"));
    for (const [path, text] of Object.entries(FILES)) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), text);
    }
    for (const file of [".dependency-cruiser.mjs", "package.json", "tsconfig.json"]) cpSync(join(ROOT, file), join(folder, file));
    symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules"));
    report = cruise(folder);
  });

  afterAll(() => rmSync(folder, { recursive: true }));

  test.each([
    ["schema-imports-nothing", "schema/a.ts → platform/a.ts"],
    ["platform-imports-schema-only", "platform/a.ts → subgraphs/kit/k.ts"],
    ["kit-imports-platform-and-schema-only", "subgraphs/kit/l.ts → subgraphs/nodes/n.ts"],
    ["subgraphs-do-not-import-each-other", "subgraphs/clusters/c.ts → subgraphs/nodes/n.ts"],
    ["only-cli-imports-subgraphs", "gateway/a.ts → subgraphs/kit/k.ts"],
    ["processes-do-not-import-each-other", "agent/a.ts → gateway/b.ts"],
    ["no-cycles", "gateway/a.ts →"],
    ["no-development-packages-at-run-time", "agent/a.ts →"],
  ])("%s is found", (rule, edge) => {
    expect(report).toContain(`${rule}: ${edge}`);
  });

  test("nothing else is", () => {
    expect(report.match(/^ {2}error /gm)).toHaveLength(8);
  });

  test("a violation says where the code belongs", () => {
    expect(report.replace(/\s+/g, " ")).toContain("What two subgraphs share as code belongs in subgraphs/kit/.");
  });
});

function cruise(cwd: string): string {
  const folders = ["schema", "platform", "subgraphs", "gateway", "agent"];
  const program = join(ROOT, "node_modules/.bin/depcruise");
  try {
    return execFileSync(process.execPath, [program, "--config", ".dependency-cruiser.mjs", "--output-type", "err-long", ...folders], {
      cwd,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
  } catch (error) {
    return (error as { stdout: string }).stdout;
  }
}
