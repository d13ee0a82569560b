import { precondition } from "../../../shared/refusals.ts";
import type { Decoder, Output } from "./decoder.ts";
import { gzipDecoder } from "./gzip-decoder.ts";
import { XzProcess } from "./xz-process.ts";
import { ZstdDecoder } from "./zstd-decoder.ts";

/** How a file may be packed. */
export type Packing = "gzip" | "xz" | "zstd";

const MAGIC: readonly (readonly [Packing, Buffer])[] = [
  ["gzip", Buffer.from([0x1f, 0x8b])],
  ["xz", Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00])],
  ["zstd", Buffer.from([0x28, 0xb5, 0x2f, 0xfd])],
];

/** So many first bytes tell how a file is packed. */
export const PACKING_BYTES = 6;

/** By the first bytes; null where it is not packed in a way that is known. */
export function packingOf(head: Uint8Array): Packing | null {
  const found = MAGIC.find(([, magic]) => head.length >= magic.length && magic.equals(head.subarray(0, magic.length)));
  return found?.[0] ?? null;
}

export function openDecoder(packing: Packing, output: Output): Decoder {
  if (packing === "gzip") return gzipDecoder(output);
  return packing === "xz" ? new XzProcess(output) : new ZstdDecoder(output);
}

export interface UnpackLimits {
  /** Unpacked, per byte that came. Only counted beyond `freeBytes`: what is small does no harm. */
  maxRatio: number;
  freeBytes: number;
}

/** Unpacks, and refuses what would become far more than what came (FAILED_PRECONDITION ArchiveBomb). */
export class Unpacker {
  readonly #decoder: Decoder;
  #taken = 0;
  #given = 0;

  constructor(packing: Packing, limits: UnpackLimits, output: Output) {
    this.#decoder = openDecoder(packing, async (chunk) => {
      this.#given += chunk.length;
      if (this.#given > limits.freeBytes && this.#given > this.#taken * limits.maxRatio) throw bomb(packing, limits.maxRatio);
      await output(chunk);
    });
  }

  async write(chunk: Uint8Array): Promise<void> {
    this.#taken += chunk.length;
    await this.#decoder.write(chunk);
  }

  async end(): Promise<void> {
    await this.#decoder.end();
  }

  async abort(): Promise<void> {
    await this.#decoder.abort();
  }
}

function bomb(packing: Packing, ratio: number): Error {
  return precondition(
    "ArchiveBomb",
    `The image is packed (${packing}) so that each byte becomes more than ${ratio}: that is no disk, or almost only zeros. Convert it to qcow2 (qemu-img convert -O qcow2).`,
    { field: "spec.image" },
  );
}
