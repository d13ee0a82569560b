import type { Logger } from "../../../../platform/observability/log.ts";
import { byDigest, type FetchRecord, OWN_FILE, recordFiles, usedFile } from "./image-record.ts";
import type { ImageRecords } from "./image-records.ts";
import type { StoragePool } from "./storage-pool.ts";

export interface LeftoverOptions {
  pool: StoragePool;
  log: Logger;
  records: ImageRecords;
  /** Whether the volume of a record is there, and complete. */
  isWhole(record: FetchRecord): Promise<boolean>;
  /** Whether a disk stands on the file, or is about to. */
  isNeeded(path: string): Promise<boolean>;
  /** Whether somebody writes this volume now. */
  isUnderWay(name: string): boolean;
  signal: AbortSignal;
}

/**
 * Removes from the image pool what agents left that were killed: records that are cut off or lead nowhere, volumes without a record. To be
 * called alone, after a refresh of the pool.
 */
export async function removeLeftovers(options: LeftoverOptions): Promise<void> {
  const { pool, records, isWhole, signal } = options;
  const names = await pool.names(signal);
  const { records: all, useless } = await records.all(names, signal);
  for (const name of useless) await pool.remove(name, signal);
  const whole: FetchRecord[] = [];
  for (const record of all) {
    if (await isWhole(record)) whole.push(record);
    else for (const file of recordFiles(record.reference)) await pool.remove(file, signal);
  }
  await addDigests(whole, records, signal);
  const known = new Set([...whole.map(({ volume }) => volume), ...whole.map(({ sha256 }) => usedFile(sha256))]);
  for (const name of names) {
    if (OWN_FILE.test(name) && !name.endsWith(".json") && !known.has(name)) await removeUnused(name, options);
  }
}

/** Images of earlier days have no record by their digest. */
async function addDigests(whole: readonly FetchRecord[], records: ImageRecords, signal: AbortSignal): Promise<void> {
  const known = new Set(whole.map(({ reference }) => reference));
  for (const record of whole) {
    const reference = byDigest(record.sha256);
    if (known.has(reference)) continue;
    known.add(reference);
    await records.put({ ...record, reference, served: null, validator: null, source: null }, signal);
  }
}

async function removeUnused(name: string, { pool, log, isNeeded, isUnderWay, signal }: LeftoverOptions): Promise<void> {
  if (isUnderWay(name)) return;
  const volume = await pool.find(name, signal);
  if (volume === null) return;
  if (await isNeeded(volume.path)) {
    log.warn({ volume: name }, "an image has lost its record; it is kept, because instances stand on it");
    return;
  }
  await pool.remove(name, signal);
  log.info({ volume: name, bytes: volume.physicalBytes }, "removed what an unfinished fetch had left");
}
