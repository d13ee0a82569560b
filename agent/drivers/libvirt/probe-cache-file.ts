import { randomUUID } from "node:crypto";
import { readFile, rename, writeFile } from "node:fs/promises";
import type { ProbeCache, ProbeRecord } from "./boot-probe.ts";

const MAX_BYTES = 4096;

/** The boot probe's last answer in a file, which is replaced at once. What cannot be read is no answer. */
export function probeCacheFile(path: string): ProbeCache {
  return {
    async read() {
      try {
        const text = await readFile(path, "utf8");
        return text.length > MAX_BYTES ? null : asRecord(JSON.parse(text));
      } catch {
        return null;
      }
    },
    async write(record) {
      const partial = `${path}.${randomUUID()}`;
      await writeFile(partial, `${JSON.stringify(record)}\n`, { mode: 0o600 });
      await rename(partial, path);
    },
  };
}

function asRecord(value: unknown): ProbeRecord | null {
  if (typeof value !== "object" || value === null) return null;
  const { key, works, at } = value as Record<string, unknown>;
  return typeof key === "string" && typeof works === "boolean" && typeof at === "number" ? { key, works, at } : null;
}
