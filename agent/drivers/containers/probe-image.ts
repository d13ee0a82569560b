/** What the probe's program ends with: no runtime says this by itself. */
export const PROBE_EXIT_CODE = 42;
export const PROBE_PATH = "/probe";

/** Machine code that ends with PROBE_EXIT_CODE, and the ELF machine that it is for. By Node's names of architectures. */
const PROGRAMS: Readonly<Record<string, { machine: number; code: string }>> = {
  // mov edi, 42; mov eax, 60 (exit); syscall
  x64: { machine: 62, code: "bf2a000000 b83c000000 0f05" },
  // mov x0, #42; mov x8, #93 (exit); svc #0
  arm64: { machine: 183, code: "400580d2 a80b80d2 010000d4" },
};

const ADDRESS = 0x400000n;
const HEADER_BYTES = 64;
const PROGRAM_HEADER_BYTES = 56;
const TAR_BLOCK = 512;

/** A root file system with one program of 132 bytes, as a tar archive; null for an architecture that none was written for. */
export function probeArchive(architecture: string): Buffer | null {
  const program = PROGRAMS[architecture];
  if (program === undefined) return null;
  const elf = elfProgram(program.machine, Buffer.from(program.code.replaceAll(" ", ""), "hex"));
  const padding = Buffer.alloc((TAR_BLOCK - (elf.length % TAR_BLOCK)) % TAR_BLOCK);
  // Two empty blocks end an archive.
  return Buffer.concat([tarHeader(PROBE_PATH.slice(1), elf.length), elf, padding, Buffer.alloc(2 * TAR_BLOCK)]);
}

/** A static 64-bit little-endian ELF file with one segment, which is the file. */
function elfProgram(machine: number, code: Buffer): Buffer {
  const start = HEADER_BYTES + PROGRAM_HEADER_BYTES;
  const header = Buffer.alloc(start);
  header.write("7f454c46020101", 0, "hex");
  header.writeUInt16LE(2, 16); // executable
  header.writeUInt16LE(machine, 18);
  header.writeUInt32LE(1, 20); // version
  header.writeBigUInt64LE(ADDRESS + BigInt(start), 24); // entry
  header.writeBigUInt64LE(BigInt(HEADER_BYTES), 32); // where the program header is
  header.writeUInt16LE(HEADER_BYTES, 52);
  header.writeUInt16LE(PROGRAM_HEADER_BYTES, 54);
  header.writeUInt16LE(1, 56);
  const size = BigInt(start + code.length);
  header.writeUInt32LE(1, 64); // to be loaded
  header.writeUInt32LE(5, 68); // readable, executable
  header.writeBigUInt64LE(ADDRESS, 80);
  header.writeBigUInt64LE(ADDRESS, 88);
  header.writeBigUInt64LE(size, 96);
  header.writeBigUInt64LE(size, 104);
  header.writeBigUInt64LE(0x1000n, 112); // alignment
  return Buffer.concat([header, code]);
}

function tarHeader(name: string, size: number): Buffer {
  const header = Buffer.alloc(TAR_BLOCK);
  const octal = (value: number, at: number, length: number) => header.write(`${value.toString(8).padStart(length - 1, "0")}\0`, at);
  header.write(name, 0);
  octal(0o755, 100, 8);
  octal(0, 108, 8); // owner
  octal(0, 116, 8); // group
  octal(size, 124, 12);
  octal(0, 136, 12); // time
  header.fill(" ", 148, 156); // what the checksum counts for itself
  header.write("0", 156); // a file
  header.write("ustar\x0000", 257);
  octal(
    header.reduce((sum, byte) => sum + byte, 0),
    148,
    7,
  );
  return header;
}
