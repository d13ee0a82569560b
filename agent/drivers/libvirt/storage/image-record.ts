import { createHash } from "node:crypto";
import { z } from "zod";

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);

const recordSchema = z.object({
  /** What it is found by: a URL, "name:<name>" or "sha256:<hex>". */
  reference: z.string(),
  volume: z.string(),
  /** Of the file as it is kept; so is `sha256`. */
  size: z.number().int().positive(),
  sha256,
  format: z.enum(["qcow2", "raw"]),
  virtualSize: z.number().int().positive(),
  fetchedAt: z.iso.datetime(),
  /** Of the file as it was served; null for those of earlier days. */
  served: z
    .object({ sha256, sha512: z.string().regex(/^[0-9a-f]{128}$/) })
    .nullable()
    .default(null),
  /** By which the source knows the file; null where it cannot. */
  validator: z.string().nullable().default(null),
  /** The URL that a name was given for. */
  source: z.string().nullable().default(null),
  /** Of two records of one reference, the one with the higher number counts. */
  sequence: z.number().int().nonnegative().default(0),
});

/** What is known of a fetched image under one of its references. A volume is whole if and only if there is a record of it. */
export type FetchRecord = z.infer<typeof recordSchema>;

/** The files of the image pool that are the agent's own, by the hash of what they are for. `.next` takes turns with the plain record. */
export const OWN_FILE = /^url-([0-9a-f]{32})(-[0-9a-f]{8}\.img|(?:\.next)?\.json|\.used)$/;
export const MAX_RECORD_BYTES = 16_384;

/** Names files by what they are for: a URL may be longer than a file name, and hold a secret. */
export function hashOf(reference: string): string {
  return createHash("sha256").update(reference).digest("hex").slice(0, 32);
}

export function recordFiles(reference: string): readonly [string, string] {
  const hash = hashOf(reference);
  return [`url-${hash}.json`, `url-${hash}.next.json`];
}

export function usedFile(digest: string): string {
  return `url-${hashOf(byDigest(digest))}.used`;
}

export function byDigest(sha256Hex: string): string {
  return `sha256:${sha256Hex}`;
}

export function byName(name: string): string {
  return `name:${name}`;
}

export function isDigest(text: string): boolean {
  return /^sha256:[0-9a-f]{64}$/.test(text);
}

export function writeRecord(record: FetchRecord): Buffer {
  return Buffer.from(`${JSON.stringify(record, undefined, 2)}\n`);
}

/** Null for one that was not written to its end. Those of earlier days call their reference `url`. */
export function readRecord(content: Buffer): FetchRecord | null {
  try {
    const parsed = JSON.parse(content.toString("utf8")) as Record<string, unknown>;
    return recordSchema.parse({ reference: parsed["url"], ...parsed });
  } catch {
    return null;
  }
}
