import { existsSync, readFileSync } from "node:fs";
import { parseDocument } from "yaml";
import { SETTINGS, settingEntries } from "./settings.ts";
import { nearest } from "./suggest.ts";

/** Read where nothing else is said and it is there. */
export const DEFAULT_FILE = "fleetgraph.yaml";
const MAX_FILE_BYTES = 1024 * 1024;

/** The values of a YAML file by setting key; sections may be nested (`gateway: {port: 4000}`) or dotted (`gateway.port: 4000`). */
export function readConfigFile(file: string | null, mistakes: string[]): Map<string, unknown> {
  const values = new Map<string, unknown>();
  const path = file ?? (existsSync(DEFAULT_FILE) ? DEFAULT_FILE : null);
  if (path === null) return values;
  const known = new Set(settingEntries().flatMap(([key, setting]) => (setting.secret === true ? [key, `${key}File`] : [key])));
  for (const [key, value] of flatten(parse(path, mistakes), "", known)) {
    if (known.has(key)) values.set(key, value);
    else mistakes.push(unknownKey(path, key, known));
  }
  return values;
}

function parse(path: string, mistakes: string[]): Record<string, unknown> {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    mistakes.push(`The configuration file ${path} cannot be read: ${(error as Error).message}.`);
    return {};
  }
  if (text.length > MAX_FILE_BYTES) {
    mistakes.push(`The configuration file ${path} is larger than 1 MiB.`);
    return {};
  }
  const document = parseDocument(text, { uniqueKeys: true });
  for (const error of document.errors) mistakes.push(`${path}: ${error.message.split("\n")[0]?.replace(/:$/, "")}.`);
  if (document.errors.length > 0) return {};
  const content: unknown = document.toJS({ maxAliasCount: 10 });
  if (content === null || content === undefined) return {};
  if (isMap(content)) return content;
  mistakes.push(`${path}: the file must be a map of settings.`);
  return {};
}

/** Down to the known keys: what lies below one of them (a map of names) is its value. */
function* flatten(section: Record<string, unknown>, prefix: string, known: Set<string>): Generator<[string, unknown]> {
  for (const [name, value] of Object.entries(section)) {
    const key = prefix + name;
    if (isMap(value) && !known.has(key) && isSection(key)) yield* flatten(value, `${key}.`, known);
    else yield [key, value];
  }
}

function isSection(key: string): boolean {
  return Object.keys(SETTINGS).some((known) => known.startsWith(`${key}.`));
}

function unknownKey(path: string, key: string, known: Set<string>): string {
  const meant = nearest(key, known) ?? nearest(key, new Set([...known].map((name) => name.split(".")[0] as string)));
  return `${path}: ${key} is not a setting${meant === null ? "." : `; did you mean ${meant}?`}`;
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
