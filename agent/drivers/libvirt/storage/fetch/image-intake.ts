import { createHash, type Hash } from "node:crypto";
import type { Digests } from "./checksum.ts";
import { type FinishedFile, ImageFile, type ImageFileOptions } from "./image-file.ts";
import { PACKING_BYTES, packingOf, Unpacker, type UnpackLimits } from "./unpacker.ts";

export interface IntakeOptions extends Omit<ImageFileOptions, "bytes" | "hash"> {
  unpack: UnpackLimits;
  /** How many bytes will come; null where nobody says. */
  servedBytes: number | null;
}

export interface TakenIn extends FinishedFile {
  /** Of what is kept. */
  sha256: string;
  /** Of what came. */
  served: Digests & { bytes: number };
}

/** Takes an image as it is served, tells by its first bytes whether it is packed, and has the image itself stored. Digests are made on the way. */
export class ImageIntake {
  readonly #options: IntakeOptions;
  readonly #hashes: Record<keyof Digests, Hash> = { sha256: createHash("sha256"), sha512: createHash("sha512") };
  /** Of what is kept, where that is not what came. */
  #keptHash: Hash | null = null;
  #bytes = 0;
  /** Until it is known how it is packed. */
  #pending: Uint8Array[] | null = [];
  #file: ImageFile | null = null;
  #unpacker: Unpacker | null = null;

  constructor(options: IntakeOptions) {
    this.#options = options;
  }

  async write(chunk: Uint8Array): Promise<void> {
    this.#bytes += chunk.length;
    this.#hashes.sha256.update(chunk);
    this.#hashes.sha512.update(chunk);
    if (this.#pending === null) {
      await this.#pass(chunk);
      return;
    }
    this.#pending.push(chunk);
    if (this.#bytes >= PACKING_BYTES) await this.#begin();
  }

  /** To be followed by the sink's `keep`, or `abort`. */
  async finish(): Promise<TakenIn> {
    if (this.#pending !== null) await this.#begin();
    await this.#unpacker?.end();
    const { sha256, sha512 } = this.#hashes;
    const served = { bytes: this.#bytes, sha256: sha256.digest("hex"), sha512: sha512.digest("hex") };
    if (this.#file === null) throw new Error("An image was finished before it was begun.");
    const finished = await this.#file.finish();
    return { ...finished, sha256: this.#keptHash?.digest("hex") ?? served.sha256, served };
  }

  /** Leaves nothing; also after `finish`. */
  async abort(): Promise<void> {
    await this.#unpacker?.abort();
    await this.#file?.abort();
  }

  async #begin(): Promise<void> {
    const { servedBytes, unpack, ...options } = this.#options;
    const first = Buffer.concat(this.#pending ?? []);
    this.#pending = null;
    const packing = packingOf(first);
    if (packing !== null) this.#keptHash = createHash("sha256");
    const file = new ImageFile({ ...options, bytes: packing === null ? servedBytes : null, hash: this.#keptHash });
    this.#file = file;
    if (packing !== null) this.#unpacker = new Unpacker(packing, unpack, (chunk) => file.write(chunk));
    await this.#pass(first);
  }

  async #pass(chunk: Uint8Array): Promise<void> {
    await (this.#unpacker ?? this.#file)?.write(chunk);
  }
}
