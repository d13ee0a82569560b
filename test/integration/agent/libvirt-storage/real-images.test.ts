import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { HEAD_BYTES, imageFacts } from "../../../../agent/drivers/libvirt/storage/image-format.ts";
import { MalformedQcow2, type Qcow2Header, readQcow2Header } from "../../../../agent/drivers/libvirt/storage/qcow2-header.ts";
import { Qcow2Tables } from "../../../../agent/drivers/libvirt/storage/qcow2-tables.ts";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import { seededRandom, seedOfRun } from "../../../support/random.ts";
import { qemuImage, qemuImageInfo } from "../../../support/storage-host.ts";

const MIB = 2 ** 20;
const seed = seedOfRun();
const KEY = ["--object", "secret,id=key,data=geheim"];

/** Images by QEMU: their name, and what `qemu-img create` is told. */
const GOOD: [name: string, ...args: string[]][] = [
  ["plain", "64M"],
  ["version-2", "-o", "compat=0.10", "64M"],
  ["small-clusters", "-o", "cluster_size=512", "64M"],
  ["large-clusters", "-o", "cluster_size=2M", "1T"],
  ["extended-l2", "-o", "extended_l2=on,cluster_size=128k", "3G"],
  ["zstd", "-o", "compression_type=zstd", "64M"],
  ["lazy-refcounts", "-o", "lazy_refcounts=on", "64M"],
  ["narrow-refcounts", "-o", "refcount_bits=1", "64M"],
  ["preallocated", "-o", "preallocation=metadata", "16M"],
  ["large", "16T"],
  ["tiny", "1k"],
];
const REFUSED: [name: string, reason: string, ...args: string[]][] = [
  ["on-another", "ImageHasBackingFile", "-b", "plain", "-F", "qcow2"],
  ["on-raw", "ImageHasBackingFile", "-b", "raw", "-F", "raw"],
  ["version-2-on-another", "ImageHasBackingFile", "-o", "compat=0.10", "-b", "plain", "-F", "qcow2"],
  ["data-elsewhere", "ImageHasDataFile", "-o", "data_file=elsewhere.data", "16M"],
  ["raw-data-elsewhere", "ImageHasDataFile", "-o", "data_file=elsewhere2.data,data_file_raw=on", "16M"],
  ["luks", "ImageEncrypted", ...KEY, "-o", "encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=10", "16M"],
  ["no-size", "ImageMalformed", "0"],
];

describeWithPeers(`qcow2 headers that QEMU wrote (SEED=${seed})`, "tiny-guest", () => {
  let directory: string;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "fleetgraph-qcow2-"));
    await writeFile(join(directory, "raw"), Buffer.alloc(MIB));
    const create = ([name, ...args]: string[]) =>
      qemuImage(directory, "create", "-q", "-f", "qcow2", ...before(args), name ?? "", ...last(args));
    for (const args of GOOD) await create(args);
    for (const [name, , ...args] of REFUSED) await create([name, ...args]);
  });

  afterAll(() => rm(directory, { recursive: true, force: true }));

  async function headOf(name: string): Promise<{ head: Buffer; fileBytes: number }> {
    const content = await readFile(join(directory, name));
    return { head: content.subarray(0, HEAD_BYTES), fileBytes: content.length };
  }

  it.each(GOOD)("are read as QEMU reads them: %s", async (name) => {
    const { head, fileBytes } = await headOf(name);
    const { "virtual-size": virtualSize } = await qemuImageInfo(join(directory, name));
    expect(imageFacts(name, null, head, fileBytes)).toEqual({ format: "qcow2", virtualSize });
  });

  it.each(REFUSED)("tell what makes an image unusable: %s is %s", async (name, reason) => {
    const { head, fileBytes } = await headOf(name);
    expect(() => imageFacts(name, null, head, fileBytes)).toThrow(expect.objectContaining({ reason }));
  });

  it("name the backing file and its format", async () => {
    const { head, fileBytes } = await headOf("on-raw");
    expect(readQcow2Header(head, fileBytes)).toMatchObject({ backingFile: "raw", backingFormat: "raw" });
  });

  it("are known again when an image was flattened, has snapshots, or was compressed", async () => {
    await qemuImage(directory, "convert", "-c", "-O", "qcow2", "on-another", "flat");
    await qemuImage(directory, "snapshot", "-c", "one", "flat");
    const { head, fileBytes } = await headOf("flat");
    expect(imageFacts("flat", "qcow2", head, fileBytes)).toEqual({ format: "qcow2", virtualSize: 64 * MIB });
  });

  it("are damaged, not believed, where the file ends before its tables do", async () => {
    for (const [name] of GOOD) {
      const { head } = await headOf(name);
      const end = Number(head.readBigUInt64BE(40)) + head.readUInt32BE(36) * 8;
      expect((await stat(join(directory, name))).size, name).toBeGreaterThanOrEqual(end);
      expect(() => readQcow2Header(head, end - 1), name).toThrow(MalformedQcow2);
    }
  });

  describe("and tables that lead to data", () => {
    const CUT = expect.objectContaining({ code: "FAILED_PRECONDITION", reason: "ImageMalformed" });
    const random = seededRandom(seed + 2);
    /** With 700 KiB of data in three places. */
    const WITH_DATA: [name: string, ...args: string[]][] = [
      ["data"],
      ["data-compressed", "-c"],
      ["data-zstd", "-c", "-o", "compression_type=zstd"],
      ["data-version-2", "-o", "compat=0.10"],
      ["data-small-clusters", "-o", "cluster_size=512"],
      ["data-large-clusters", "-o", "cluster_size=2M"],
      ["data-extended-l2", "-o", "extended_l2=on,cluster_size=64k"],
    ];

    beforeAll(async () => {
      const disk = Buffer.alloc(24 * MIB);
      for (const at of [0, 9 * MIB, 23 * MIB]) for (let byte = 0; byte < 233_000; byte++) disk[at + byte] = Math.floor(random() * 256);
      await writeFile(join(directory, "disk"), disk);
      for (const [name, ...args] of WITH_DATA) await qemuImage(directory, "convert", "-f", "raw", "-O", "qcow2", ...args, "disk", name);
      // Its L1 table moves behind its data.
      await qemuImage(directory, "convert", "-f", "raw", "-O", "qcow2", "-o", "cluster_size=512", "disk", "grown");
      await qemuImage(directory, "resize", "-q", "grown", "400M");
    });

    function check(content: Buffer, fileBytes: number): void {
      const tables = Qcow2Tables.of(content.subarray(0, HEAD_BYTES));
      const read = content.subarray(0, fileBytes);
      for (let at = 0; at < read.length; ) {
        const piece = read.subarray(at, at + (at === 0 ? HEAD_BYTES : 1 + Math.floor(random() * 300_000)));
        tables.take(at, piece);
        at += piece.length;
      }
      for (const { offset, length } of tables.missing()) tables.take(offset, read.subarray(offset, offset + length));
      tables.check(fileBytes);
    }

    it.each([...GOOD.filter(([name]) => !name.startsWith("large")), ...WITH_DATA, ["grown"] as [string]])(
      "are whole in whole files, however they come: %s",
      async (name) => {
        const content = await readFile(join(directory, name));
        for (let run = 0; run < 3; run++) check(content, content.length);
      },
    );

    it.each([...WITH_DATA, ["grown"] as [string]])("tell that a file was cut off, wherever that was: %s", async (name) => {
      const content = await readFile(join(directory, name));
      const cluster = 2 ** content.readUInt32BE(20);
      // The last cluster may be shorter, and what stands behind the data is not needed to read it.
      const lastData = lastByte(content) - cluster;
      for (let run = 0; run < 20; run++) {
        const end = Math.floor(HEAD_BYTES + random() * (lastData - HEAD_BYTES));
        expect(() => check(content, end), `cut at ${end} of ${content.length}`).toThrow(CUT);
      }
      expect(() => check(content, Math.floor(content.length / 2))).toThrow(CUT);
    });

    it("are refused, not believed, where they lead to nowhere", async () => {
      const content = await readFile(join(directory, "data"));
      const l1 = Number(content.readBigUInt64BE(40));
      const unaligned = Buffer.from(content);
      unaligned.writeBigUInt64BE(0x8000_0000_0000_0200n, l1);
      expect(() => check(unaligned, content.length)).toThrow(CUT);
      const beyond = Buffer.from(content);
      beyond.writeBigUInt64BE(0x8000_0100_0000_0000n, l1);
      expect(() => check(beyond, content.length)).toThrow(CUT);
    });
  });

  it("end in facts or in a clear error, whatever became of their bytes", async () => {
    const random = seededRandom(seed);
    const below = (limit: number) => Math.floor(random() * limit);
    const heads = await Promise.all([...GOOD, ...REFUSED].map(([name]) => headOf(name)));
    const counts = { read: 0, malformed: 0 };
    for (let run = 0; run < 20_000; run++) {
      const { head, fileBytes } = heads[run % heads.length] ?? { head: Buffer.alloc(0), fileBytes: 0 };
      const spoiled = Buffer.from(head.subarray(0, random() < 0.2 ? below(700) : 700));
      for (let changes = below(4); changes >= 0; changes--) {
        const at = below(Math.max(1, Math.min(spoiled.length, random() < 0.8 ? 160 : 700)));
        if (spoiled.length > 0) spoiled[at] = random() < 0.3 ? 0xff : below(256);
      }
      const result = readOrNull(spoiled, random() < 0.2 ? below(fileBytes + 1) : fileBytes);
      if (result === null) {
        counts.malformed += 1;
        continue;
      }
      counts.read += 1;
      expect(Number.isSafeInteger(result.virtualSize) && result.virtualSize >= 0).toBe(true);
      expect((result.backingFile?.length ?? 0) <= 1023).toBe(true);
    }
    // Both ends were reached, so that the changes are neither too small nor too large.
    expect(counts.read).toBeGreaterThan(1000);
    expect(counts.malformed).toBeGreaterThan(1000);
  });

  it("are refused in words, never by another error, whatever became of their bytes", async () => {
    const random = seededRandom(seed + 1);
    const { head, fileBytes } = await headOf("on-another");
    for (let run = 0; run < 2000; run++) {
      const spoiled = Buffer.from(head.subarray(0, 1024));
      for (let changes = 0; changes < 3; changes++) spoiled[Math.floor(random() * 200)] = Math.floor(random() * 256);
      try {
        imageFacts("x", null, spoiled, fileBytes);
      } catch (error) {
        expect(error).toBeInstanceOf(FleetError);
      }
    }
  });
});

/** Behind the last byte that is not zero. */
function lastByte(content: Buffer): number {
  let at = content.length;
  while (at > 0 && content[at - 1] === 0) at--;
  return at;
}

/** Null where it is malformed; any other error is the test's failure. */
function readOrNull(head: Buffer, fileBytes: number): Qcow2Header | null {
  try {
    return readQcow2Header(head, fileBytes);
  } catch (error) {
    if (error instanceof MalformedQcow2) return null;
    throw error;
  }
}

/** qemu-img wants options before the file's name, and the size behind it. */
function before(args: string[]): string[] {
  return isSize(args.at(-1)) ? args.slice(0, -1) : args;
}

function last(args: string[]): string[] {
  return args.filter((arg, index) => index === args.length - 1 && isSize(arg));
}

function isSize(arg: string | undefined): boolean {
  return arg !== undefined && /^\d+[kMGT]?$/.test(arg);
}
