import { precondition } from "../../shared/refusals.ts";
import { extendedL2Of } from "./qcow2-header.ts";

interface Range {
  offset: number;
  length: number;
}

/** Where in the file an entry of a table points to (QEMU's docs/interop/qcow2.txt). */
const OFFSET_MASK = 0x00ff_ffff_ffff_fe00n;
const COMPRESSED = 1n << 62n;
const ALL_ZEROS = 1n;
/** Of tables that had gone by before it was known where they are: so many are read again, the last ones of the file. */
const MAX_MISSING = 64;

/**
 * Looks at the tables of a qcow2 image while the file goes by in order, to see whether all that they point to is there: a header alone does
 * not tell that a file was cut off. Holds the L1 table (QEMU takes 32 MiB at most) and one L2 table.
 */
export class Qcow2Tables {
  readonly #clusterBytes: number;
  readonly #clusterBits: number;
  readonly #entryBytes: number;
  readonly #l1: Range;
  #l1Table: Buffer;
  #l1Filled = 0;
  /** Where the L2 tables are that are still to come, in order; null until the L1 table is known. */
  #wanted: Float64Array | null = null;
  #next = 0;
  #missed: number[] = [];
  #isIncomplete = false;
  readonly #table: Buffer;
  #tableFilled = 0;
  /** Where the last cluster begins that is pointed to: within a whole file. Its end need not be there. */
  #furthest = 0;
  #damage: string | null = null;

  private constructor(head: Buffer) {
    this.#clusterBits = head.readUInt32BE(20);
    this.#clusterBytes = 2 ** this.#clusterBits;
    this.#entryBytes = extendedL2Of(head) ? 16 : 8;
    this.#l1 = { offset: Number(head.readBigUInt64BE(40)), length: head.readUInt32BE(36) * 8 };
    this.#l1Table = Buffer.alloc(this.#l1.length);
    this.#table = Buffer.alloc(this.#clusterBytes);
  }

  /** `head` is one that `readQcow2Header` has read. */
  static of(head: Buffer): Qcow2Tables {
    return new Qcow2Tables(head);
  }

  /** Bytes of the file. In order from 0; afterwards, what `missing` named. */
  take(at: number, chunk: Uint8Array): void {
    if (this.#wanted === null) this.#takeL1(at, chunk);
    if (this.#wanted !== null) this.#takeL2(at, chunk);
  }

  /** What went by too early: it has to be read again. Each is to be taken before the next. */
  *missing(): Generator<Range, void, undefined> {
    this.#isIncomplete = this.#awaitsMore();
    const missed = this.#missed.slice(-MAX_MISSING);
    this.#wanted = Float64Array.from(missed);
    this.#next = 0;
    this.#tableFilled = 0;
    for (const offset of missed) yield { offset, length: this.#clusterBytes };
  }

  /** FAILED_PRECONDITION ImageMalformed where something is beyond the end of the file. */
  check(fileBytes: number): void {
    const isCut = this.#furthest >= fileBytes || this.#isIncomplete || this.#awaitsMore();
    const why = this.#damage ?? (isCut ? "its data goes on beyond its end: the file was cut off" : null);
    if (why !== null) throw precondition("ImageMalformed", `The image is damaged: ${why}.`, { field: "spec.image" });
  }

  #awaitsMore(): boolean {
    return this.#wanted === null || this.#next < this.#wanted.length;
  }

  #takeL1(at: number, chunk: Uint8Array): void {
    this.#l1Filled += copyInto(this.#l1Table, this.#l1.offset, at, chunk);
    if (this.#l1Filled < this.#l1.length) return;
    const offsets = new Set<number>();
    for (let entry = 0; entry < this.#l1Table.length; entry += 8) {
      const offset = Number(this.#l1Table.readBigUInt64BE(entry) & OFFSET_MASK);
      if (offset === 0) continue;
      if (offset % this.#clusterBytes !== 0) this.#damage ??= "a table of its data is not at the start of a cluster";
      else offsets.add(offset);
    }
    this.#l1Table = Buffer.alloc(0);
    const sorted = Float64Array.from(offsets).sort();
    this.#furthest = Math.max(this.#furthest, sorted.at(-1) ?? 0);
    this.#wanted = sorted;
    // Those that begin before this chunk are gone; of this chunk, all can still be seen.
    while (this.#next < sorted.length && (sorted[this.#next] ?? 0) < at) this.#missed.push(sorted[this.#next++] ?? 0);
  }

  #takeL2(at: number, chunk: Uint8Array): void {
    const wanted = this.#wanted ?? new Float64Array();
    while (this.#next < wanted.length) {
      const offset = wanted[this.#next] ?? 0;
      this.#tableFilled += copyInto(this.#table, offset, at, chunk);
      if (this.#tableFilled < this.#clusterBytes) return;
      this.#readTable();
      this.#tableFilled = 0;
      this.#next += 1;
    }
  }

  #readTable(): void {
    for (let entry = 0; entry < this.#table.length; entry += this.#entryBytes) {
      const value = this.#table.readBigUInt64BE(entry);
      if (value === 0n) continue;
      this.#furthest = Math.max(this.#furthest, this.#beginningOf(value));
    }
  }

  /** 0 where the entry points nowhere. */
  #beginningOf(entry: bigint): number {
    // The sectors of a compressed cluster are counted in the bits above its offset.
    if ((entry & COMPRESSED) !== 0n) return Number(entry & ((1n << BigInt(62 - (this.#clusterBits - 8))) - 1n));
    // Space that was set aside for a cluster of zeros need not be there.
    return this.#entryBytes === 8 && (entry & ALL_ZEROS) !== 0n ? 0 : Number(entry & OFFSET_MASK);
  }
}

/** Copies what of `chunk`, which is at `at`, belongs into the target, which is at `offset`; gives how many bytes. */
function copyInto(target: Buffer, offset: number, at: number, chunk: Uint8Array): number {
  const from = Math.max(offset, at);
  const end = Math.min(offset + target.length, at + chunk.length);
  if (end <= from) return 0;
  target.set(chunk.subarray(from - at, end - at), from - offset);
  return end - from;
}
