import { constants } from "node:fs";
import { type FileHandle, open, readlink, realpath } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { FleetError } from "../../../../../platform/errors/fleet-error.ts";
import { precondition } from "../../../shared/refusals.ts";
import { type ByteSource, type OpenedBytes, type Resume, TransferBroken } from "./byte-source.ts";
import { failed, reasonOf } from "./fetch-errors.ts";
import { notAllowed } from "./image-url.ts";

const CHUNK_BYTES = 256 * 1024;

/** A file of the agent's own machine, below one of the allowed directories wherever its links lead. */
export class FileSource implements ByteSource {
  readonly #url: URL;
  readonly #allowed: readonly URL[];

  constructor(url: URL, allowed: readonly URL[]) {
    this.#url = url;
    this.#allowed = allowed;
  }

  async open(resume: Resume | null, signal: AbortSignal): Promise<OpenedBytes> {
    signal.throwIfAborted();
    const file = await this.#file();
    try {
      const { validator, size } = await this.#facts(file);
      const offset = resume?.validator === validator ? resume.offset : 0;
      const body = this.#read(file, offset, size, validator, signal);
      return { offset, total: size, validator, body, close: () => file.close() };
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  async isUnchanged(validator: string): Promise<boolean> {
    await using file = await this.#file();
    return (await this.#facts(file)).validator === validator;
  }

  async *#read(file: FileHandle, from: number, end: number, validator: string, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    for (let at = from; at < end; ) {
      signal.throwIfAborted();
      const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(CHUNK_BYTES), 0, Math.min(CHUNK_BYTES, end - at), at);
      if (bytesRead === 0) break;
      yield buffer.subarray(0, bytesRead);
      at += bytesRead;
    }
    if ((await this.#facts(file)).validator !== validator) throw new TransferBroken("the file was changed while it was read");
  }

  /** What was opened is what is checked: a link that is moved meanwhile gains nothing. A pipe does not make the agent wait. */
  async #file(): Promise<FileHandle> {
    const path = fileURLToPath(this.#url);
    let file: FileHandle;
    try {
      file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") throw precondition("ImageNotFound", `There is no file ${path}.`);
      throw failed(`${path}: ${reasonOf(error)}`, error);
    }
    try {
      await this.#checkPlace(await readlink(`/proc/self/fd/${file.fd}`));
      return file;
    } catch (error) {
      await file.close();
      throw error instanceof FleetError ? error : failed(`${path}: ${reasonOf(error)}`, error);
    }
  }

  async #checkPlace(path: string): Promise<void> {
    for (const prefix of this.#allowed) {
      const allowed = await realpath(fileURLToPath(prefix)).catch(() => null);
      if (allowed !== null && (path === allowed || path.startsWith(allowed.endsWith("/") ? allowed : `${allowed}/`))) return;
    }
    throw notAllowed(`${this.#url.pathname} leads out of the folders that this host takes images from.`);
  }

  async #facts(file: FileHandle): Promise<{ validator: string; size: number }> {
    const facts = await file.stat({ bigint: true });
    if (!facts.isFile()) throw failed(`${fileURLToPath(this.#url)} is no file.`);
    return { validator: `file ${facts.ino} ${facts.size} ${facts.mtimeNs}`, size: Number(facts.size) };
  }
}
