import { describe, expect, it } from "vitest";
import { declaredFormat, imageFacts } from "../../../../agent/drivers/libvirt/storage/image-format.ts";
import { MalformedQcow2, readQcow2Header } from "../../../../agent/drivers/libvirt/storage/qcow2-header.ts";

const MIB = 2 ** 20;

function reason(expected: string) {
  return expect.objectContaining({ code: "FAILED_PRECONDITION", reason: expected });
}

function beginning(text: string, at = 0): Buffer {
  const head = Buffer.alloc(4096);
  head.write(text, at, "latin1");
  return head;
}

interface Given {
  version?: number;
  virtualSize?: bigint;
  backing?: string;
  features?: bigint;
  crypt?: number;
  extension?: [type: number, length: number];
}

/** A header as QEMU writes it for a disk of 1 MiB, but for what is given. The file has 256 KiB. */
function qcow2({ version = 3, virtualSize = BigInt(MIB), backing, features = 0n, crypt = 0, extension }: Given = {}): Buffer {
  const head = Buffer.alloc(65_536);
  head.write("QFI\xfb", "latin1");
  head.writeUInt32BE(version, 4);
  head.writeUInt32BE(16, 20);
  head.writeBigUInt64BE(virtualSize, 24);
  head.writeUInt32BE(crypt, 32);
  head.writeUInt32BE(1, 36);
  head.writeBigUInt64BE(0x30000n, 40);
  head.writeBigUInt64BE(0x10000n, 48);
  head.writeUInt32BE(1, 56);
  const headerBytes = version === 3 ? 112 : 72;
  if (version === 3) {
    head.writeBigUInt64BE(features, 72);
    head.writeUInt32BE(4, 96);
    head.writeUInt32BE(headerBytes, 100);
  }
  if (extension !== undefined) {
    head.writeUInt32BE(extension[0], headerBytes);
    head.writeUInt32BE(extension[1], headerBytes + 4);
  }
  if (backing !== undefined) {
    head.writeBigUInt64BE(0x200n, 8);
    head.writeUInt32BE(backing.length, 16);
    head.write(backing, 0x200, "latin1");
  }
  return head;
}

const FILE_BYTES = 262_144;

describe("what an image is", () => {
  it("qcow2 is told by its content, and so is its size", () => {
    expect(imageFacts("x", null, qcow2(), FILE_BYTES)).toEqual({ format: "qcow2", virtualSize: MIB });
    expect(imageFacts("x", "qcow2", qcow2({ version: 2 }), FILE_BYTES)).toEqual({ format: "qcow2", virtualSize: MIB });
  });

  it.each([
    ["an MBR", beginning("\x55\xaa", 510)],
    ["a GPT", beginning("EFI PART", 512)],
    ["an ext file system", beginning("\x53\xef", 0x438)],
    ["ISO 9660", Buffer.concat([Buffer.alloc(0x8001), Buffer.from("CD001")])],
  ])("a raw disk is known by %s", (_what, head) => {
    expect(imageFacts("x", null, head, 100_000)).toEqual({ format: "raw", virtualSize: 100_352 });
  });

  it("what is called raw may hold anything that is no other format", () => {
    expect(imageFacts("x", "raw", Buffer.alloc(512), 512)).toEqual({ format: "raw", virtualSize: 512 });
    expect(() => imageFacts("x", null, Buffer.alloc(512), 512)).toThrow(reason("ImageFormatUnknown"));
  });

  it("a name that says another format than the content is refused", () => {
    expect(() => imageFacts("x", "raw", qcow2(), FILE_BYTES)).toThrow(reason("ImageFormatUnknown"));
    expect(() => imageFacts("x", "qcow2", beginning("\x55\xaa", 510), 4096)).toThrow(reason("ImageFormatUnknown"));
    expect(["a.qcow2", "a.QCOW2", "a.raw", "a.img", "a", "a.raw.bak"].map(declaredFormat)).toEqual([
      "qcow2",
      "qcow2",
      "raw",
      null,
      null,
      null,
    ]);
  });

  it.each([
    "KDMV",
    "# Disk DescriptorFile",
    "vhdxfile",
    "conectix",
    "\x1f\x8b",
    "\xfd7zXZ\0",
    "\x28\xb5\x2f\xfd",
    "PK\x03\x04",
    "<!DOCTYPE html>",
    "QFI\xfb\0\0\0\x01",
    "LUKS\xba\xbe",
  ])("another format is named: %j", (text) => {
    for (const declared of [null, "raw", "qcow2"] as const) {
      expect(() => imageFacts("x", declared, beginning(text), 4096)).toThrow(reason("ImageFormatUnknown"));
    }
  });

  it("nothing is no image", () => {
    expect(() => imageFacts("x", null, Buffer.alloc(0), 0)).toThrow(reason("ImageMalformed"));
  });
});

describe("a qcow2 image", () => {
  it.each<[string, string, Given]>([
    ["ImageHasBackingFile", "a backing file", { backing: "/etc/shadow" }],
    ["ImageHasBackingFile", "a backing file by another protocol", { version: 2, backing: "nbd://10.0.0.1/x" }],
    ["ImageHasBackingFile", "a backing file without a name", { backing: "" }],
    ["ImageHasDataFile", "a data file, by its feature bit", { features: 4n }],
    ["ImageHasDataFile", "a data file, by its header extension", { extension: [0x4441_5441, 8] }],
    ["ImageEncrypted", "AES encryption", { crypt: 1 }],
    ["ImageEncrypted", "LUKS encryption", { extension: [0x0537_be77, 16] }],
    ["ImageMalformed", "the mark of corruption", { features: 2n }],
    ["ImageFormatUnknown", "an unknown feature", { features: 1n << 5n }],
    ["ImageFormatUnknown", "the last unknown feature", { features: 1n << 63n }],
    ["ImageFormatUnknown", "an unknown version", {}],
    ["ImageMalformed", "no size", { virtualSize: 0n }],
    ["ImageMalformed", "a size beyond its tables", { virtualSize: 1n << 40n }],
    ["ImageMalformed", "a size that no disk has", { virtualSize: (1n << 64n) - 1n }],
    ["ImageMalformed", "a header extension beyond its header", { extension: [1, 65_536] }],
  ])("is refused as %s with %s", (expected, what, given) => {
    const head = qcow2(given);
    if (what === "an unknown version") head.writeUInt32BE(1, 4);
    expect(() => imageFacts("x", null, head, FILE_BYTES)).toThrow(reason(expected));
  });

  it.each<[string, number, bigint]>([
    ["L1 table", 40, 0x40000n],
    ["L1 table", 40, 0x30001n],
    ["L1 table", 40, 0n],
    ["refcount table", 48, 0n],
    ["refcount table", 48, 0x40000n],
    ["refcount table's offset", 48, (1n << 64n) - 1n],
    ["the name of its backing file", 8, 0xffffn],
    ["the name of its backing file", 8, 8n],
  ])("is damaged where its %s cannot be there (%i: %i)", (what, at, value) => {
    const head = qcow2();
    head.writeBigUInt64BE(value, at);
    if (at === 8) head.writeUInt32BE(10, 16);
    expect(() => readQcow2Header(head, FILE_BYTES)).toThrow(MalformedQcow2);
    expect(() => readQcow2Header(head, FILE_BYTES)).toThrow(what);
  });

  it("is damaged where it was cut off, wherever that was", () => {
    const head = qcow2();
    for (const bytes of [0, 4, 8, 71, 72, 103, 111, 512, 65_535, 0x10000, 0x30007]) {
      expect(() => readQcow2Header(head.subarray(0, bytes), bytes), `${bytes} bytes`).toThrow(MalformedQcow2);
    }
    expect(readQcow2Header(head, 0x30008)).toMatchObject({ virtualSize: MIB });
  });

  it("is not believed where one table would be too large for the memory of who reads it", () => {
    const head = qcow2();
    head.writeUInt32BE(0xffff_ffff, 36);
    expect(() => readQcow2Header(head, 2 ** 50)).toThrow(MalformedQcow2);
  });
});
