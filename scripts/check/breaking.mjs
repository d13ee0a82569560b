import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { accepted } from "../lib/accepted.mjs";
import { capture } from "../lib/child.mjs";
import { inRoot, program } from "../lib/paths.mjs";
import { baseOf, fileAt, unpackAt } from "./base-commit.mjs";

const PROTO = "schema/proto";
const API = "schema/graphql/api.graphql";
const NOTHING_EARLIER = "nothing earlier to compare with";

/** Changes of schema/proto that break callers, by `buf breaking`. */
export async function protoBreaks() {
  const base = await baseOf(PROTO);
  if (base === null) return NOTHING_EARLIER;
  const folder = mkdtempSync(join(tmpdir(), "fleetgraph-base-"));
  try {
    await unpackAt(base, PROTO, folder);
    const { code, stdout, text } = await capture(program("buf"), [
      "breaking",
      PROTO,
      "--against",
      join(folder, PROTO),
      "--error-format=json",
    ]);
    if (code === 0) return against(base);
    const lines = stdout.toString("utf8").split("\n").filter(Boolean);
    if (lines.length === 0) throw new Error(text.trim());
    return judge(
      "protoBreaks",
      base,
      lines.map(JSON.parse).map(({ type, message }) => `${type}: ${message}`),
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Changes of the graph that break clients, by graphql-inspector on the schema as clients see it. */
export async function graphBreaks() {
  const base = await baseOf(API);
  const before = base === null ? null : await fileAt(base, API);
  if (before === null) return NOTHING_EARLIER;
  const { CriticalityLevel, diff } = await import("@graphql-inspector/core");
  const { buildSchema } = await import("graphql");
  const changes = await diff(buildSchema(before), buildSchema(readFileSync(inRoot(API), "utf8")));
  const breaking = changes.filter((change) => change.criticality.level === CriticalityLevel.Breaking);
  return judge(
    "graphqlBreaks",
    base,
    breaking.map((change) => change.message),
  );
}

function judge(list, base, texts) {
  const refused = texts.filter((text) => !accepted(list, text));
  if (refused.length > 0)
    throw new Error(`${against(base)}\n${refused.join("\n")}\nWhat is meant goes into schema/accepted.yaml under ${list}`);
  return against(base);
}

const against = (base) => `against ${base.slice(0, 10)}`;
