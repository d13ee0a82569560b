import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { unlink } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import type { Logger } from "../../../../platform/observability/log.ts";
import { replaceFile } from "../../../../platform/tls/certificate-files.ts";

const common = {
  migrationId: z.string(),
  instanceId: z.string(),
  generation: z.number(),
  uuid: z.string(),
  domainName: z.string(),
  socketDirectory: z.string(),
};

/** "performed": the control plane may have heard that all is copied, and decides; before that, the guest is this host's. */
const sourceNote = z.object({ role: z.literal("source"), state: z.enum(["performing", "performed"]), ...common });

/** "finishing": the guest may have been started here. `madeDisks`: volumes of the instance that are here were made for it. */
const destinationNote = z.object({
  role: z.literal("destination"),
  state: z.enum(["prepared", "finishing"]),
  madeDisks: z.boolean(),
  ...common,
});

const noteFile = z.discriminatedUnion("role", [sourceNote, destinationNote]);

export type SourceNote = z.infer<typeof sourceNote>;
export type DestinationNote = z.infer<typeof destinationNote>;
export type MigrationNote = SourceNote | DestinationNote;

const MAX_NOTES = 1000;

/** What is known of attempts beyond the agent's end: one file for each instance that is on its way. */
export class MigrationNotes {
  readonly #directory: string;
  readonly #notes = new Map<string, MigrationNote>();

  constructor(directory: string, log: Logger) {
    this.#directory = directory;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(directory).slice(0, MAX_NOTES)) {
      if (!name.endsWith(".json")) continue;
      try {
        const note = noteFile.parse(JSON.parse(readFileSync(join(directory, name), "utf8")));
        this.#notes.set(note.instanceId, note);
      } catch (error) {
        log.error({ err: error, file: name }, "a note of a migration cannot be read; what is left of that migration stays");
      }
    }
  }

  all(): MigrationNote[] {
    return [...this.#notes.values()];
  }

  of(instanceId: string): MigrationNote | null {
    return this.#notes.get(instanceId) ?? null;
  }

  /** When this resolves it counts, also after a crash. */
  async save(note: MigrationNote): Promise<void> {
    await replaceFile(this.#path(note.instanceId), `${JSON.stringify(note)}\n`);
    this.#notes.set(note.instanceId, note);
  }

  async remove({ instanceId, migrationId }: MigrationNote): Promise<void> {
    if (this.#notes.get(instanceId)?.migrationId !== migrationId) return;
    await unlink(this.#path(instanceId)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") throw error;
    });
    this.#notes.delete(instanceId);
  }

  #path(instanceId: string): string {
    return join(this.#directory, `${instanceId}.json`);
  }
}
