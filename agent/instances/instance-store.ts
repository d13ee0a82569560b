import { mkdir, open, readdir, readFile, rename, unlink } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { FleetError } from "../../platform/errors/fleet-error.ts";
import type { Logger } from "../../platform/observability/log.ts";
import { makePrivateDir, replaceFile } from "../../platform/tls/certificate-files.ts";
import { MAX_RECORD_BYTES, parseRecord, recordText, type StoredInstance } from "./record-file.ts";
import type { Tombstone } from "./take-desired.ts";

/** As ids of instances are; they name the files. */
export const INSTANCE_ID = /^inst-[0-9a-z]{1,40}$/;

const SESSION_FILE = "session.json";
const sessionFile = z.object({ session: z.number().int().min(0) });
const READS_AT_ONCE = 16;
const MAX_DAMAGED = 20;
const TOMBSTONE_MS = 7 * 86_400_000;
const MAX_TOMBSTONES = 10_000;

export interface InstanceStoreOptions {
  directory: string;
  log: Logger;
  /** Milliseconds since the epoch. */
  now?: () => number;
  /** 10,000 by default. */
  maxTombstones?: number;
}

/** One file for each instance, replaced at once: a SIGKILL at any moment leaves the one before or the new one. */
export class InstanceStore {
  /** Grows with each start of the agent, also where the directory was lost. */
  readonly session: number;
  /** What was there when it was opened. */
  readonly found: readonly StoredInstance[];
  readonly #directory: string;
  readonly #now: () => number;
  readonly #maxTombstones: number;
  readonly #tombstones = new Map<string, Tombstone>();

  private constructor(session: number, found: readonly StoredInstance[], options: InstanceStoreOptions) {
    this.session = session;
    this.found = found;
    this.#directory = options.directory;
    this.#now = options.now ?? Date.now;
    this.#maxTombstones = options.maxTombstones ?? MAX_TOMBSTONES;
    for (const stored of found) if ("tombstone" in stored) this.#tombstones.set(stored.tombstone.instanceId, stored.tombstone);
  }

  /** A damaged file is moved aside, with a line in the log: what it was about is learned again from the host and the control plane. */
  static async open(options: InstanceStoreOptions): Promise<InstanceStore> {
    const { directory } = options;
    await mkdir(directory, { recursive: true, mode: 0o700 });
    await makePrivateDir(directory);
    const session = await nextSession(directory, (options.now ?? Date.now)());
    const names = await readdir(directory);
    // Left by a process that was killed while it wrote.
    await Promise.all(names.filter((name) => name.startsWith(".")).map((name) => unlink(join(directory, name)).catch(() => undefined)));
    await dropOldest(directory, names.filter((name) => name.includes(".damaged-")).sort());
    const ids = names.filter((name) => name.endsWith(".json") && name !== SESSION_FILE).map((name) => name.slice(0, -".json".length));
    const found: StoredInstance[] = [];
    for (let start = 0; start < ids.length; start += READS_AT_ONCE) {
      const read = await Promise.all(ids.slice(start, start + READS_AT_ONCE).map((id) => readStored(id, options)));
      found.push(...read.filter((stored) => stored !== null));
    }
    const store = new InstanceStore(session, found, options);
    await store.prune();
    return store;
  }

  /** Returns once it is on disk; throws RESOURCE_EXHAUSTED, or UNAVAILABLE (reason StateNotSaved) where it cannot be kept. */
  async put(instanceId: string, stored: StoredInstance): Promise<void> {
    if (!INSTANCE_ID.test(instanceId)) throw new FleetError("INVALID_ARGUMENT", "An instance's id is inst- and letters and digits.");
    const text = recordText(stored);
    if (Buffer.byteLength(text) > MAX_RECORD_BYTES) throw new FleetError("RESOURCE_EXHAUSTED", "The instance's description is too long.");
    try {
      await replaceFile(this.#path(instanceId), text);
    } catch (cause) {
      const message = `The agent cannot keep its state on disk (${cause instanceof Error ? cause.message : String(cause)}).`;
      throw new FleetError("UNAVAILABLE", message, { reason: "StateNotSaved", cause });
    }
    if ("tombstone" in stored) this.#tombstones.set(instanceId, stored.tombstone);
    else this.#tombstones.delete(instanceId);
  }

  tombstone(instanceId: string): Tombstone | null {
    return this.#tombstones.get(instanceId) ?? null;
  }

  /** The newest first. */
  tombstones(limit: number): Tombstone[] {
    return [...this.#tombstones.values()].sort((a, b) => b.deletedAt - a.deletedAt).slice(0, limit);
  }

  /** Forgets tombstones that are older than 7 days, and the oldest beyond the most that are kept. */
  async prune(): Promise<void> {
    const oldest = this.#now() - TOMBSTONE_MS;
    for (const [index, { instanceId, deletedAt }] of this.tombstones(Number.POSITIVE_INFINITY).entries()) {
      if (index < this.#maxTombstones && deletedAt >= oldest) continue;
      this.#tombstones.delete(instanceId);
      await unlink(this.#path(instanceId)).catch(() => undefined);
    }
  }

  #path(instanceId: string): string {
    return join(this.#directory, `${instanceId}.json`);
  }
}

/** Seconds since the epoch at least, so that a directory that was lost does not bring old numbers back. */
async function nextSession(directory: string, now: number): Promise<number> {
  const path = join(directory, SESSION_FILE);
  const text = await readFile(path, "utf8").catch(() => "{}");
  let before = 0;
  try {
    before = sessionFile.parse(JSON.parse(text)).session;
  } catch {
    // The time alone will do.
  }
  const session = Math.max(before + 1, Math.floor(now / 1000));
  await replaceFile(path, `${JSON.stringify({ session })}\n`);
  return session;
}

async function readStored(instanceId: string, { directory, log, now = Date.now }: InstanceStoreOptions): Promise<StoredInstance | null> {
  const path = join(directory, `${instanceId}.json`);
  try {
    if (!INSTANCE_ID.test(instanceId)) throw new Error("its name is no instance's id");
    return parseRecord(await readBounded(path), instanceId);
  } catch (error) {
    const aside = `${path}.damaged-${now()}`;
    log.error(
      { instanceId, err: error, aside },
      "an instance's file is damaged; it is put aside, and learned again from the host and the control plane",
    );
    await rename(path, aside);
    return null;
  }
}

async function readBounded(path: string): Promise<string> {
  await using handle = await open(path, "r");
  const { size } = await handle.stat();
  if (size > MAX_RECORD_BYTES) throw new Error(`it has ${size} bytes`);
  return handle.readFile("utf8");
}

async function dropOldest(directory: string, damaged: string[]): Promise<void> {
  const stampOf = (name: string) => Number(name.split(".damaged-")[1]) || 0;
  const old = damaged.sort((a, b) => stampOf(b) - stampOf(a)).slice(MAX_DAMAGED);
  await Promise.all(old.map((name) => unlink(join(directory, name)).catch(() => undefined)));
}
