/**
 * A boot sector that shows that a processor works, by switching the machine off: written out by hand, because there is no other program
 * that can be relied on to be there. It waits for two timer interrupts, enters protected and long mode with paging, reads and writes memory
 * four million times, which takes a tenth of a second even under emulation, and writes soft-off to ACPI's control register, which SeaBIOS
 * puts at port 0x604.
 */
const PROGRAM = [
  "fa fc 31c0 8ed8 8ec0 8ed0 bc007c", // cli; cld; ax = ds = es = ss = 0; sp = 0x7c00
  "fb bb0200", // sti; bx = 2
  "8a0e6c04", // tick: cl = [0x46c], where the BIOS counts timer interrupts
  "f4 3a0e6c04 74f9", // wait: hlt; loop until it has changed
  "4b 75f2 fa", // dec bx; another tick; cli
  "bf0010 b90018 31c0 f3ab", // page tables from 0x1000 on: all zero
  "c70600100320 c70600200330", // level 4 → 0x2000, level 3 → 0x3000
  "bf0030 66b883000000", // level 2: pages of 2 MiB, present and writable
  "668905 660500002000 83c708 81ff4030 75ee", // the first 16 MiB
  "66b820000000 0f22e0", // cr4: physical address extension
  "66b800100000 0f22d8", // cr3: the page tables
  "66b9800000c0 0f32 660d00010000 0f30", // EFER: long mode
  "0f20c0 660d01000080 0f22c0", // cr0: protection and paging
  "0f0116e07c ea897c0800", // lgdt [0x7ce0]; jump into the 64-bit segment
  "b810000000 8ed8 8ed0", // data segments
  "b900004000 bf00001000 31c0", // ecx = 4 Mi; edi = 1 MiB
  "89ca 81e2f8ff0f00 48010c17 48030417 ffc9 75ec", // [rdi + ecx % 1 MiB] += rcx; rax += it
  "ba04060000 b800200000 66ef", // outw 0x604, 0x2000
  "f4 ebfd", // hlt for ever
] as const;

/** Descriptors: none, 64-bit code, data; and what lgdt reads. */
const GDT = ["0000000000000000", "00000000009a2000", "0000000000920000", "1700c87c0000"].join("");
const GDT_OFFSET = 0xc8;
const SIGNATURE_OFFSET = 510;
/** SeaBIOS does not boot from a disk of a single sector. */
const DISK_BYTES = 1024 * 1024;

/** The disk that holds it. */
export function bootProgramDisk(): Buffer {
  const disk = Buffer.alloc(DISK_BYTES);
  disk.write(PROGRAM.join("").replaceAll(" ", ""), 0, "hex");
  disk.write(GDT, GDT_OFFSET, "hex");
  disk.writeUInt16LE(0xaa55, SIGNATURE_OFFSET);
  return disk;
}
