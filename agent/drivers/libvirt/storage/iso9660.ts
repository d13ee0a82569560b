/** A file in the image's root directory: lower-case letters, digits, "-" and "."; at most 27 characters. */
export interface IsoFile {
  name: string;
  content: Buffer;
}

const SECTOR = 2048;
/** Behind the 16 sectors that the format leaves alone: three descriptors, four path tables, two root directories. */
const PLACE = { primary: 16, joliet: 17, end: 18, pathTables: 19, primaryRoot: 23, jolietRoot: 24, files: 25 } as const;
/**
 * Empty sectors at the end. Readers look for other file systems behind the first 64 KiB, and some (busybox) give up on a disk that is too
 * short for that. As many as other writers add.
 */
const PADDING = 150;
const ROOT_RECORD_BYTES = 34;
const PATH_TABLE_BYTES = 10;
const NAME = /^[a-z0-9][a-z0-9.-]{0,26}$/;
/** Each takes up to 120 bytes of the directory's one sector. */
const MAX_FILES = 12;

interface Names {
  /** What the format itself allows, more or less: for readers that know nothing else. */
  primary: Buffer;
  /** Rock Ridge, for Unix. */
  unix: string;
  /** Joliet: UCS-2, big-endian. */
  joliet: Buffer;
}

/**
 * An ISO 9660 image (ECMA-119) with one directory, whose names are also there as Rock Ridge and as Joliet names, so that every reader sees
 * them as they are. No dates: the same files give the same bytes.
 */
export function isoImage(label: string, files: readonly IsoFile[]): Buffer {
  const wrong = files.find(({ name }) => !NAME.test(name));
  if (wrong !== undefined) throw new RangeError(`${JSON.stringify(wrong.name)} is no name for a file of an ISO image.`);
  if (files.length > MAX_FILES) throw new RangeError(`${files.length} files do not fit into one directory.`);
  if (!/^[A-Za-z0-9_]{1,16}$/.test(label)) throw new RangeError(`${JSON.stringify(label)} is no label for an ISO image.`);
  let sector: number = PLACE.files;
  const entries = [...files]
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, content }) => {
      const at = sector;
      sector += Math.ceil(content.length / SECTOR);
      return { at, content, names: namesOf(name) };
    });
  const sectors = sector + PADDING;
  const image = Buffer.alloc(sectors * SECTOR);
  writeDescriptor(image, PLACE.primary, sectors, Buffer.from(label.padEnd(32), "latin1"), PLACE.primaryRoot);
  writeDescriptor(image, PLACE.joliet, sectors, ucs2(label.padEnd(16)), PLACE.jolietRoot);
  image.write("\xffCD001\x01", PLACE.end * SECTOR, "latin1");
  for (const [index, root] of [PLACE.primaryRoot, PLACE.jolietRoot].entries()) writePathTables(image, PLACE.pathTables + 2 * index, root);
  writeDirectory(
    image,
    PLACE.primaryRoot,
    entries.map(({ at, content, names }) => ({ at, bytes: content.length, name: names.primary, unix: names.unix })),
    true,
  );
  writeDirectory(
    image,
    PLACE.jolietRoot,
    entries.map(({ at, content, names }) => ({ at, bytes: content.length, name: names.joliet, unix: "" })),
    false,
  );
  for (const { at, content } of entries) content.copy(image, at * SECTOR);
  return image;
}

function namesOf(name: string): Names {
  const withDot = name.includes(".") ? name : `${name}.`;
  return { primary: Buffer.from(`${withDot.toUpperCase()};1`, "latin1"), unix: name, joliet: ucs2(name) };
}

/** Primary (type 1), or supplementary with Joliet's escape sequence for UCS-2 level 3 (type 2). */
function writeDescriptor(image: Buffer, sector: number, sectors: number, label: Buffer, root: number): void {
  const joliet = sector === PLACE.joliet;
  const at = image.subarray(sector * SECTOR, (sector + 1) * SECTOR);
  at.write(`${joliet ? "\x02" : "\x01"}CD001\x01`, 0, "latin1");
  const blank = (from: number, to: number) => at.fill(joliet ? ucs2(" ") : " ", from, to);
  blank(8, 40);
  label.copy(at, 40);
  both32(at, 80, sectors);
  if (joliet) at.write("%/E", 88, "latin1");
  both16(at, 120, 1);
  both16(at, 124, 1);
  both16(at, 128, SECTOR);
  both32(at, 132, PATH_TABLE_BYTES);
  const pathTables = PLACE.pathTables + (joliet ? 2 : 0);
  at.writeUInt32LE(pathTables, 140);
  at.writeUInt32BE(pathTables + 1, 148);
  directoryRecord({ at: root, bytes: SECTOR, name: Buffer.of(0), directory: true }).copy(at, 156);
  blank(190, 813);
  for (const date of [813, 830, 847, 864]) at.fill("0", date, date + 16);
  at[881] = 1;
}

/** One little-endian, one big-endian; all that is in them is the root. */
function writePathTables(image: Buffer, sector: number, root: number): void {
  for (const [index, little] of [true, false].entries()) {
    const at = image.subarray((sector + index) * SECTOR);
    at[0] = 1;
    if (little) at.writeUInt32LE(root, 2);
    else at.writeUInt32BE(root, 2);
    if (little) at.writeUInt16LE(1, 6);
    else at.writeUInt16BE(1, 6);
  }
}

interface Entry {
  at: number;
  bytes: number;
  name: Buffer;
  unix: string;
}

function writeDirectory(image: Buffer, sector: number, entries: readonly Entry[], rockRidge: boolean): void {
  const itself = { at: sector, bytes: SECTOR, directory: true };
  const records = [
    directoryRecord({ ...itself, name: Buffer.of(0), extra: rockRidge ? [sharing(), attributes(true), extensionName()] : [] }),
    directoryRecord({ ...itself, name: Buffer.of(1), extra: rockRidge ? [attributes(true)] : [] }),
    ...entries.map(({ unix, ...entry }) =>
      directoryRecord({ ...entry, directory: false, extra: rockRidge ? [attributes(false), unixName(unix)] : [] }),
    ),
  ];
  Buffer.concat(records).copy(image, sector * SECTOR);
}

interface RecordFields {
  at: number;
  bytes: number;
  name: Buffer;
  directory: boolean;
  extra?: Buffer[];
}

function directoryRecord({ at, bytes, name, directory, extra = [] }: RecordFields): Buffer {
  const system = Buffer.concat(extra);
  const nameEnd = 33 + name.length + ((name.length + 1) % 2);
  const record = Buffer.alloc(Math.max(nameEnd + system.length + (system.length % 2), ROOT_RECORD_BYTES));
  record[0] = record.length;
  both32(record, 2, at);
  both32(record, 10, bytes);
  // 1 January 2000: month and day may not be 0.
  Buffer.of(100, 1, 1).copy(record, 18);
  record[25] = directory ? 2 : 0;
  both16(record, 28, 1);
  record[32] = name.length;
  name.copy(record, 33);
  system.copy(record, nameEnd);
  return record;
}

/** SUSP's SP: extensions are used here. */
function sharing(): Buffer {
  return Buffer.from("SP\x07\x01\xbe\xef\x00", "latin1");
}

/** SUSP's ER: they are Rock Ridge's. */
function extensionName(): Buffer {
  const id = "RRIP_1991A";
  return Buffer.concat([Buffer.from("ER"), Buffer.of(8 + id.length, 1, id.length, 0, 0, 1), Buffer.from(id)]);
}

/** Rock Ridge's PX: readable by all, owned by root. */
function attributes(directory: boolean): Buffer {
  const entry = Buffer.alloc(36);
  entry.write("PX\x24\x01", "latin1");
  both32(entry, 4, directory ? 0o040555 : 0o100444);
  both32(entry, 12, directory ? 2 : 1);
  return entry;
}

/** Rock Ridge's NM. */
function unixName(name: string): Buffer {
  return Buffer.concat([Buffer.from("NM"), Buffer.of(5 + name.length, 1, 0), Buffer.from(name)]);
}

function both32(buffer: Buffer, at: number, value: number): void {
  buffer.writeUInt32LE(value, at);
  buffer.writeUInt32BE(value, at + 4);
}

function both16(buffer: Buffer, at: number, value: number): void {
  buffer.writeUInt16LE(value, at);
  buffer.writeUInt16BE(value, at + 2);
}

function ucs2(text: string): Buffer {
  return Buffer.from(text, "utf16le").swap16();
}
