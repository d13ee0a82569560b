import { execFileSync } from "node:child_process";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { type Packing, packingOf, Unpacker } from "../../../../agent/drivers/libvirt/storage/fetch/unpacker.ts";
import { XzProcess } from "../../../../agent/drivers/libvirt/storage/fetch/xz-process.ts";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import { seededRandom, seedOfRun } from "../../../support/random.ts";

const MIB = 2 ** 20;
const LIMITS = { maxRatio: 200, freeBytes: 8 * MIB };
const seed = seedOfRun();

const PACK: Record<Packing, (content: Buffer) => Buffer> = {
  gzip: (content) => gzipSync(content),
  xz: (content) => execFileSync("xz", ["--stdout", "-1"], { input: content, maxBuffer: 64 * MIB }),
  zstd: (content) => zstdCompressSync(content),
};
const PACKINGS = Object.keys(PACK) as Packing[];

function refused(reason: string) {
  return expect.objectContaining({ code: "FAILED_PRECONDITION", reason });
}

/** Half noise, half nothing. */
function content(random: () => number, bytes: number): Buffer {
  const made = Buffer.alloc(bytes);
  for (let at = 0; at < bytes / 2; at += 4) made.writeUInt32LE(Math.floor(random() * 2 ** 32), at);
  return made;
}

/** Unpacks what comes in pieces of at most `pieceBytes`. */
async function unpack(packing: Packing, packed: Buffer, pieceBytes: () => number, limits = LIMITS): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  const unpacker = new Unpacker(packing, limits, async (chunk) => void chunks.push(Buffer.from(chunk)));
  try {
    for (let at = 0; at < packed.length; ) {
      const piece = packed.subarray(at, at + Math.max(1, pieceBytes()));
      await unpacker.write(piece);
      at += piece.length;
    }
    await unpacker.end();
    return Buffer.concat(chunks);
  } finally {
    await unpacker.abort();
  }
}

const whole = () => Number.MAX_SAFE_INTEGER;

describe.each(PACKINGS)(`a packed image, by %s (SEED=${seed})`, (packing) => {
  const random = seededRandom(seed);
  const plain = content(random, MIB);
  const packed = PACK[packing](plain);

  it("is known by its first bytes", () => {
    expect(packingOf(packed.subarray(0, 6))).toBe(packing);
    expect(packingOf(packed.subarray(1, 7))).toBeNull();
  });

  it("is unpacked whole, in whatever pieces it comes", async () => {
    expect((await unpack(packing, packed, whole)).equals(plain)).toBe(true);
    expect((await unpack(packing, packed, () => random() * 50_000)).equals(plain)).toBe(true);
    const small = PACK[packing](plain.subarray(0, 1000));
    expect((await unpack(packing, small, () => 1)).equals(plain.subarray(0, 1000))).toBe(true);
  });

  it("may consist of several parts, as those make it that pack in parallel", async () => {
    const parts = [plain.subarray(0, 1000), plain.subarray(1000, 300_000), plain.subarray(300_000)].map((part) => PACK[packing](part));
    expect((await unpack(packing, Buffer.concat(parts), whole)).equals(plain)).toBe(true);
    expect((await unpack(packing, Buffer.concat(parts), () => random() * 2000)).equals(plain)).toBe(true);
    const [first = Buffer.alloc(0), ...others] = parts;
    let next = first.length;
    const byPart = () => {
      const bytes = next;
      next = others.shift()?.length ?? 0;
      return bytes;
    };
    expect((await unpack(packing, Buffer.concat(parts), byPart)).equals(plain)).toBe(true);
  });

  it("is refused where it was cut off, wherever that was", async () => {
    for (let run = 0; run < 8; run++) {
      const cut = packed.subarray(0, 7 + Math.floor(random() * (packed.length - 8)));
      await expect(unpack(packing, cut, whole), `cut to ${cut.length}`).rejects.toEqual(refused("ImageMalformed"));
    }
    await expect(unpack(packing, packed.subarray(0, packed.length - 1), whole)).rejects.toEqual(refused("ImageMalformed"));
  });

  it("is refused where something else follows it", async () => {
    const followed = Buffer.concat([packed, Buffer.from("something else, and not packed")]);
    await expect(unpack(packing, followed, whole)).rejects.toEqual(refused("ImageMalformed"));
    await expect(unpack(packing, followed, () => 1000)).rejects.toEqual(refused("ImageMalformed"));
  });

  it("ends in the same bytes or in a refusal, never in anything else, whatever became of its bytes", async () => {
    for (let run = 0; run < 8; run++) {
      const spoiled = Buffer.from(packed);
      const at = Math.floor(random() * spoiled.length);
      spoiled[at] = (spoiled[at] ?? 0) ^ (1 + Math.floor(random() * 255));
      // Without checksums (zstd has none here) other bytes may come out: then the image's own tell.
      await unpack(packing, spoiled, whole).catch((error: unknown) => expect(error, `byte ${at}`).toEqual(refused("ImageMalformed")));
    }
  });

  it("is refused where it grows far more than a disk does", async () => {
    const bomb = PACK[packing](Buffer.alloc(16 * MIB));
    let given = 0;
    const unpacker = new Unpacker(packing, LIMITS, async (chunk) => {
      given += chunk.length;
    });
    const all = async () => {
      await unpacker.write(bomb);
      await unpacker.end();
    };
    await expect(all()).rejects.toEqual(refused("ArchiveBomb"));
    await unpacker.abort();
    expect(given).toBeLessThanOrEqual(LIMITS.freeBytes);
  });

  it("comes no faster than it is taken", async () => {
    const zeros = PACK[packing](Buffer.alloc(8 * MIB));
    const gate = Promise.withResolvers<void>();
    let given = 0;
    const unpacker = new Unpacker(packing, LIMITS, async (chunk) => {
      given += chunk.length;
      await gate.promise;
    });
    const done = (async () => {
      await unpacker.write(zeros);
      await unpacker.end();
    })();
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(given).toBeLessThanOrEqual(MIB);
    gate.resolve();
    await done;
    expect(given).toBe(8 * MIB);
    await unpacker.abort();
  });

  it("fails with what those say who take it", async () => {
    const why = new FleetError("FAILED_PRECONDITION", "It does not fit.", { reason: "InsufficientDisk" });
    const unpacker = new Unpacker(packing, LIMITS, () => Promise.reject(why));
    const all = async () => {
      for (let at = 0; at < packed.length; at += 65_536) await unpacker.write(packed.subarray(at, at + 65_536));
      await unpacker.end();
    };
    await expect(all()).rejects.toBe(why);
    await unpacker.abort();
    await unpacker.abort();
  });

  it("can be left in the middle", async () => {
    const unpacker = new Unpacker(packing, LIMITS, async () => undefined);
    await unpacker.write(packed.subarray(0, packed.length >> 1));
    await unpacker.abort();
    await expect(unpacker.write(packed)).rejects.toBeDefined();
  });
});

it("Zstandard that needs more memory than is allowed is refused", async () => {
  // A frame without content whose window has 2^(10 + exponent) bytes.
  const frame = (exponent: number) => Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, exponent << 3, 0x01, 0x00, 0x00]);
  expect(await unpack("zstd", frame(17), whole)).toHaveLength(0);
  await expect(unpack("zstd", frame(20), whole)).rejects.toEqual(refused("ImageMalformed"));
});

it("xz that is not there is named", async () => {
  const decoder = new XzProcess(async () => undefined, "fleetgraph-no-such-program");
  await expect(
    (async () => {
      await decoder.write(Buffer.from("x"));
      await decoder.end();
    })(),
  ).rejects.toEqual(refused("UnpackerMissing"));
  await decoder.abort();
});
