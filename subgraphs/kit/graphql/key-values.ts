import { invalidArgument } from "../../../platform/errors/fleet-error.ts";

/** One entry of a map, as GraphQL has it in and out. */
interface Entry {
  key: string;
  value: string;
}

/** A map as a list, by key. */
export function toKeyValues(map: Readonly<Record<string, string>>): Entry[] {
  return Object.entries(map)
    .map(([key, value]) => ({ key, value }))
    .sort((a, b) => (a.key < b.key ? -1 : 1));
}

/** A list of entries as a map; undefined and null as they are. Throws INVALID_ARGUMENT for a key that occurs twice. */
export function toStringMap<T extends null | undefined>(field: string, entries: readonly Entry[] | T): Record<string, string> | T {
  if (!entries) return entries;
  const map = new Map<string, string>();
  for (const { key, value } of entries) {
    if (map.has(key)) throw invalidArgument(field, `The key ${JSON.stringify(key)} occurs twice.`);
    map.set(key, value);
  }
  return Object.fromEntries(map);
}
