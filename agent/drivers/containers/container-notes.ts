import { readFile } from "node:fs/promises";
import { z } from "zod";
import { FleetError } from "../../../platform/errors/fleet-error.ts";
import { replaceFile } from "../../../platform/tls/certificate-files.ts";

const limits = z.object({
  cpuCores: z.number(),
  quota: z.number().nullable(),
  period: z.number().nullable(),
  memoryBytes: z.number(),
  swapBytes: z.number(),
  readBps: z.number(),
  writeBps: z.number(),
});

const note = z.object({
  /** Of one that was adopted: labels cannot be put on a container that is there. */
  mark: z.object({ instanceId: z.string(), nodeId: z.string(), generation: z.number() }).nullable(),
  /** Of one that was resized on an engine that forgets it with the next start (podman 4). */
  limits: limits.nullable(),
});

/** What the agent has to know about a container and cannot put onto it. */
export type ContainerNote = z.infer<typeof note>;

/** By the containers' ids. A change counts once its promise resolves. */
export interface ContainerNotes {
  readonly all: ReadonlyMap<string, ContainerNote>;
  set(nativeId: string, note: ContainerNote): Promise<void>;
  delete(nativeId: string): Promise<void>;
}

/** Notes in a file, which is replaced at once. */
export class ContainerNotesFile implements ContainerNotes {
  readonly #path: string;
  #notes: ReadonlyMap<string, ContainerNote>;
  /** Writes come one after the other, each with all that was changed before it. */
  #writing: Promise<void> = Promise.resolve();

  private constructor(path: string, notes: ReadonlyMap<string, ContainerNote>) {
    this.#path = path;
    this.#notes = notes;
  }

  /** FAILED_PRECONDITION, saying what to do, for a damaged file. */
  static async open(path: string): Promise<ContainerNotesFile> {
    const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return null;
      throw error;
    });
    if (text === null) return new ContainerNotesFile(path, new Map());
    try {
      const { containers } = z.object({ version: z.literal(1), containers: z.record(z.string(), note) }).parse(JSON.parse(text));
      return new ContainerNotesFile(path, new Map(Object.entries(containers)));
    } catch (cause) {
      const message = `${path} is damaged. Restore it from a backup, or delete it: adopted containers are then unmanaged again.`;
      throw new FleetError("FAILED_PRECONDITION", message, { cause });
    }
  }

  get all(): ReadonlyMap<string, ContainerNote> {
    return this.#notes;
  }

  async set(nativeId: string, value: ContainerNote): Promise<void> {
    await this.#change((notes) => notes.set(nativeId, value));
  }

  async delete(nativeId: string): Promise<void> {
    if (this.#notes.has(nativeId)) await this.#change((notes) => notes.delete(nativeId));
  }

  async #change(change: (notes: Map<string, ContainerNote>) => void): Promise<void> {
    const written = this.#writing.then(async () => {
      const next = new Map(this.#notes);
      change(next);
      await replaceFile(this.#path, `${JSON.stringify({ version: 1, containers: Object.fromEntries(next) }, null, 2)}\n`);
      this.#notes = next;
    });
    this.#writing = written.catch(() => undefined);
    await written;
  }
}
