/** A qcow2 header that is not what the format's specification says (QEMU's docs/interop/qcow2.txt). */
export class MalformedQcow2 extends Error {
  override readonly name = "MalformedQcow2";
}

/** What a qcow2 file says about itself in its first cluster. */
export interface Qcow2Header {
  version: 2 | 3;
  virtualSize: number;
  /** As it is written in the file: a path or a URL. */
  backingFile: string | null;
  backingFormat: string | null;
  hasDataFile: boolean;
  encrypted: boolean;
  /** QEMU found an error in it and set it aside. */
  corrupt: boolean;
  /** Bits of incompatible features that are not defined, or were not when this was written. */
  unknownFeatures: number[];
}

const MAGIC = 0x51_46_49_fb;
const V2_HEADER_BYTES = 72;
const V3_HEADER_BYTES = 104;
const MAX_BACKING_NAME_BYTES = 1023;
/** What QEMU itself opens. */
const MAX_L1_BYTES = 32 * 1024 * 1024;
const MAX_SNAPSHOTS = 65_536;

const INCOMPATIBLE = { dirty: 0, corrupt: 1, dataFile: 2, compressionType: 3, extendedL2: 4 } as const;
const KNOWN_FEATURES = 5;
const EXTENSION = { end: 0, backingFormat: 0xe279_2aca, encryption: 0x0537_be77, dataFile: 0x4441_5441 } as const;

/** Whether a file begins as qcow2 does. Version 1 is another format, which has the same magic. */
export function isQcow2(head: Buffer): boolean {
  return head.length >= 8 && head.readUInt32BE(0) === MAGIC && head.readUInt32BE(4) >= 2;
}

/**
 * Reads a header from the first bytes of a file: 64 KiB, or the whole file where it is smaller. Every offset is compared with the size of
 * the file, so that a file which was cut off is found out as far as its tables tell.
 */
export function readQcow2Header(head: Buffer, fileBytes: number): Qcow2Header {
  if (!isQcow2(head)) throw new MalformedQcow2("it does not begin as qcow2 does");
  if (head.length < V2_HEADER_BYTES) throw new MalformedQcow2("it ends within its header");
  const version = head.readUInt32BE(4);
  if (version !== 2 && version !== 3) throw new MalformedQcow2(`its version is ${version}; 2 and 3 are known`);
  if (version === 3 && head.length < V3_HEADER_BYTES) throw new MalformedQcow2("it ends within its header");
  const clusterBits = head.readUInt32BE(20);
  if (clusterBits < 9 || clusterBits > 21) throw new MalformedQcow2(`its clusters have 2^${clusterBits} bytes; 2^9 to 2^21 are possible`);

  const features = version === 3 ? head.readBigUInt64BE(72) : 0n;
  const has = (bit: number) => ((features >> BigInt(bit)) & 1n) === 1n;
  const virtualSize = size(head, 24, "virtual size");
  checkTables(head, { clusterBytes: 2 ** clusterBits, fileBytes, virtualSize, extendedL2: has(INCOMPATIBLE.extendedL2) });
  const headerBytes = version === 3 ? checkVersion3(head, 2 ** clusterBits) : V2_HEADER_BYTES;
  const backing = backingName(head, headerBytes, 2 ** clusterBits);
  const extensions = readExtensions(head, headerBytes, backing?.offset ?? 2 ** clusterBits);
  return {
    version,
    virtualSize,
    backingFile: backing?.name ?? null,
    backingFormat: extensions.backingFormat,
    hasDataFile: has(INCOMPATIBLE.dataFile) || extensions.hasDataFile,
    encrypted: head.readUInt32BE(32) !== 0 || extensions.encrypted,
    corrupt: has(INCOMPATIBLE.corrupt),
    unknownFeatures: Array.from({ length: 64 - KNOWN_FEATURES }, (_, index) => index + KNOWN_FEATURES).filter(has),
  };
}

/** Whether the entries of its L2 tables have 16 bytes instead of 8. Of a header that was read. */
export function extendedL2Of(head: Buffer): boolean {
  return head.readUInt32BE(4) >= 3 && ((head.readBigUInt64BE(72) >> BigInt(INCOMPATIBLE.extendedL2)) & 1n) === 1n;
}

interface Geometry {
  clusterBytes: number;
  fileBytes: number;
  virtualSize: number;
  extendedL2: boolean;
}

function checkTables(head: Buffer, { clusterBytes, fileBytes, virtualSize, extendedL2 }: Geometry): void {
  const l1Bytes = head.readUInt32BE(36) * 8;
  if (l1Bytes > MAX_L1_BYTES) throw new MalformedQcow2("its L1 table is larger than QEMU takes");
  // What one entry of the L1 table stands for: a cluster full of L2 entries.
  const bytesPerEntry = clusterBytes * (clusterBytes / (extendedL2 ? 16 : 8));
  if ((l1Bytes / 8) * bytesPerEntry < virtualSize) throw new MalformedQcow2("its L1 table is too small for its virtual size");
  if (l1Bytes > 0) checkPlace(size(head, 40, "L1 table's offset"), l1Bytes, "L1 table");
  checkPlace(size(head, 48, "refcount table's offset"), 1, "refcount table");
  if (head.readUInt32BE(56) === 0) throw new MalformedQcow2("it has no refcount table");
  const snapshots = head.readUInt32BE(60);
  if (snapshots > MAX_SNAPSHOTS) throw new MalformedQcow2("it has more snapshots than QEMU takes");
  if (snapshots > 0) checkPlace(size(head, 64, "snapshot table's offset"), 1, "snapshot table");

  function checkPlace(offset: number, bytes: number, what: string): void {
    if (offset === 0 || offset % clusterBytes !== 0) throw new MalformedQcow2(`its ${what} is not at the start of a cluster`);
    if (offset + bytes > fileBytes) throw new MalformedQcow2(`its ${what} is beyond its end: the file was cut off`);
  }
}

function checkVersion3(head: Buffer, clusterBytes: number): number {
  if (head.readUInt32BE(96) > 6) throw new MalformedQcow2("its refcounts are wider than 64 bits");
  const headerBytes = head.readUInt32BE(100);
  if (headerBytes < V3_HEADER_BYTES || headerBytes % 8 !== 0 || headerBytes > Math.min(clusterBytes, head.length)) {
    throw new MalformedQcow2(`its header says that it has ${headerBytes} bytes`);
  }
  return headerBytes;
}

function backingName(head: Buffer, headerBytes: number, clusterBytes: number): { offset: number; name: string } | null {
  const offset = size(head, 8, "backing file's offset");
  const length = head.readUInt32BE(16);
  if (offset === 0) return null;
  const end = offset + length;
  if (offset < headerBytes || length > MAX_BACKING_NAME_BYTES || end > clusterBytes || end > head.length) {
    throw new MalformedQcow2("the name of its backing file is not in its first cluster");
  }
  return { offset, name: head.toString("utf8", offset, end) };
}

interface Extensions {
  backingFormat: string | null;
  hasDataFile: boolean;
  encrypted: boolean;
}

function readExtensions(head: Buffer, from: number, to: number): Extensions {
  const found: Extensions = { backingFormat: null, hasDataFile: false, encrypted: false };
  let at = from;
  while (at + 8 <= to) {
    if (at + 8 > head.length) throw new MalformedQcow2("its header extensions do not end within 64 KiB");
    const type = head.readUInt32BE(at);
    const length = head.readUInt32BE(at + 4);
    if (type === EXTENSION.end) break;
    const next = at + 8 + Math.ceil(length / 8) * 8;
    if (at + 8 + length > to) throw new MalformedQcow2("one of its header extensions is longer than the header");
    if (at + 8 + length > head.length) throw new MalformedQcow2("its header extensions do not end within 64 KiB");
    if (type === EXTENSION.backingFormat) found.backingFormat = head.toString("utf8", at + 8, at + 8 + length);
    if (type === EXTENSION.dataFile) found.hasDataFile = true;
    if (type === EXTENSION.encryption) found.encrypted = true;
    at = next;
  }
  return found;
}

/** Sizes and offsets have 64 bits; a file that needs more than 53 of them exists nowhere. */
function size(head: Buffer, at: number, what: string): number {
  const value = head.readBigUInt64BE(at);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new MalformedQcow2(`its ${what} is ${value}`);
  return Number(value);
}
