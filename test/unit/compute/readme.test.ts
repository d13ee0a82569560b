import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { INTERRUPTIONS, STATE_TABLE } from "../../../subgraphs/compute/services/state-table.ts";

const README = readFileSync(fileURLToPath(new URL("../../../subgraphs/compute/README.md", import.meta.url)), "utf8");

/** As the README shows it: rows of one request that lead to the same are one line. */
function stateTable(): string[] {
  const lines = new Map<string, string[]>();
  for (const { request, from, when, to, desired } of STATE_TABLE) {
    const rest = `${when.join(", ")} | ${to === "same" ? "as before" : to} | ${desired === "same" ? "as before" : desired} |`;
    const key = `${request}|${rest}`;
    lines.set(key, [...(lines.get(key) ?? []), from]);
  }
  return [...lines].map(([key, states]) => {
    const [request = ""] = key.split("|");
    return `| ${request} | ${states.join(", ")} | ${key.slice(request.length + 1)}`;
  });
}

function interruptions(): string[] {
  return INTERRUPTIONS.map(
    ({ state, desired, controlPlane, agent, hypervisor }) => `| ${state} | ${desired} | ${controlPlane} | ${agent} | ${hypervisor} |`,
  );
}

/** The lines of the table under a heading. */
function tableUnder(heading: string): string[] {
  const [, section = ""] = README.split(`## ${heading}\n`);
  return (section.split("\n## ")[0] ?? "")
    .split("\n")
    .filter((line) => line.startsWith("|"))
    .slice(2);
}

test("the README's state table is the one that counts", () => {
  expect(tableUnder("What may be asked when")).toEqual(stateTable());
});

test("the README says of each change what a crash in its middle leads to", () => {
  expect(tableUnder("What a crash leads to")).toEqual(interruptions());
});
