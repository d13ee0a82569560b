import type { Hash } from "node:crypto";
import { precondition } from "../../../shared/refusals.ts";
import { HEAD_BYTES, type ImageFacts } from "../image-format.ts";
import { Qcow2Tables } from "../qcow2-tables.ts";
import { tooLarge } from "./fetch-errors.ts";
import type { VolumeSink } from "./volume-sink.ts";

export interface ImageFileOptions {
  /** So large it may be, as a file. */
  maxBytes: number;
  /** So large it may be, as a disk. */
  maxDiskBytes: number;
  /** How many bytes will come, where that is known. */
  bytes: number | null;
  /** Given all bytes in their order; null: somebody else has them already. */
  hash: Hash | null;
  /** Refuses what is not wanted. `fileBytes`: null where nobody knows yet. */
  recognise(head: Buffer, fileBytes: number | null): ImageFacts;
  /** `bytes`: how many there will be, null where nobody knows. Refuses what does not fit. */
  openSink(bytes: number | null): Promise<VolumeSink>;
}

/** What became of it: `sink` has stored it. */
export interface FinishedFile {
  sink: VolumeSink;
  bytes: number;
  facts: ImageFacts;
}

/**
 * An image as it is kept, from its first byte to its last. What is no image is refused by its first bytes, before anything is stored; a
 * qcow2 image's tables are looked at while they come by.
 */
export class ImageFile {
  readonly #options: ImageFileOptions;
  /** The first bytes: kept back until they have shown what they are. */
  #head: Buffer = Buffer.alloc(0);
  #pending: Uint8Array[] | null = [];
  #bytes = 0;
  #limit: number;
  #sink: VolumeSink | null = null;
  #tables: Qcow2Tables | null = null;

  constructor(options: ImageFileOptions) {
    this.#options = options;
    this.#limit = options.maxBytes;
    if (options.bytes !== null && options.bytes > this.#limit) throw tooLarge(this.#limit);
  }

  async write(chunk: Uint8Array): Promise<void> {
    this.#bytes += chunk.length;
    if (this.#bytes > this.#limit) throw tooLarge(this.#limit);
    if (this.#pending === null) {
      await this.#pass(chunk);
      return;
    }
    this.#pending.push(chunk);
    if (this.#bytes >= HEAD_BYTES) await this.#passHead(this.#options.bytes);
  }

  /** Stores the rest, and looks at the whole. To be followed by the sink's `keep`, or `abort`. */
  async finish(): Promise<FinishedFile> {
    // A short file is all head.
    if (this.#pending !== null) await this.#passHead(this.#bytes);
    const sink = this.#sink;
    if (sink === null) throw new Error("An image was finished before it was begun.");
    const facts = this.#checked(this.#bytes);
    await sink.finish(this.#bytes);
    for (const { offset, length } of this.#tables?.missing() ?? []) this.#tables?.take(offset, await sink.read(offset, length));
    this.#tables?.check(this.#bytes);
    return { sink, bytes: this.#bytes, facts };
  }

  async abort(): Promise<void> {
    await this.#sink?.abort();
  }

  async #passHead(fileBytes: number | null): Promise<void> {
    const chunks = this.#pending ?? [];
    const all = Buffer.concat(chunks);
    this.#head = Buffer.from(all.subarray(0, HEAD_BYTES));
    const { format } = this.#checked(fileBytes);
    if (format === "qcow2") this.#tables = Qcow2Tables.of(this.#head);
    // A raw disk is as large as its file.
    else this.#limit = Math.min(this.#limit, this.#options.maxDiskBytes);
    this.#sink = await this.#options.openSink(this.#options.bytes);
    this.#pending = null;
    await this.#pass(all, 0);
  }

  async #pass(chunk: Uint8Array, at = this.#bytes - chunk.length): Promise<void> {
    this.#options.hash?.update(chunk);
    this.#tables?.take(at, chunk);
    await this.#sink?.write(chunk);
  }

  #checked(fileBytes: number | null): ImageFacts {
    const facts = this.#options.recognise(this.#head, fileBytes);
    const { maxDiskBytes } = this.#options;
    if (facts.virtualSize > maxDiskBytes) {
      const message = `The image at that URL is a disk of ${facts.virtualSize} bytes; this host allows ${maxDiskBytes} (agent.imageMaxDiskBytes).`;
      throw precondition("ImageTooLarge", message, { field: "spec.image", maximumBytes: maxDiskBytes });
    }
    return facts;
  }
}
