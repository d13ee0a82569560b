import { readFileSync } from "node:fs";
import { parse } from "yaml";
import { inRoot } from "./paths.mjs";

let lists;

/** True where schema/accepted.yaml has an entry in that list whose text is this one. */
export function accepted(list, text) {
  lists ??= parse(readFileSync(inRoot("schema/accepted.yaml"), "utf8"));
  return (lists[list] ?? []).some((entry) => entry.text === text);
}
