import { describe, expect, it } from "vitest";
import type { FindCredential } from "../../../../agent/drivers/image-driver.ts";
import { parseChecksum } from "../../../../agent/drivers/libvirt/storage/fetch/checksum.ts";
import { HttpAccounts } from "../../../../agent/drivers/libvirt/storage/fetch/http-accounts.ts";
import { checkDigests, checkWish, factsFor, isKnown } from "../../../../agent/drivers/libvirt/storage/fetch/image-wish.ts";
import { ImagePins } from "../../../../agent/drivers/libvirt/storage/image-pins.ts";
import {
  type FetchRecord,
  OWN_FILE,
  readRecord,
  recordFiles,
  usedFile,
  writeRecord,
} from "../../../../agent/drivers/libvirt/storage/image-record.ts";
import { PoolSpace } from "../../../../agent/drivers/libvirt/storage/pool-space.ts";
import type { StoragePool } from "../../../../agent/drivers/libvirt/storage/storage-pool.ts";

const MIB = 2 ** 20;
const signal = AbortSignal.timeout(60_000);

function refused(reason: string, code = "FAILED_PRECONDITION") {
  return expect.objectContaining({ code, reason });
}

describe("a checksum", () => {
  it("is a name and digits of the right number, in whatever case", () => {
    expect(parseChecksum("")).toBeNull();
    expect(parseChecksum(`sha256:${"aB".repeat(32)}`)).toEqual({ algorithm: "sha256", hex: "ab".repeat(32) });
    expect(parseChecksum(`SHA512:${"0".repeat(128)}`)).toEqual({ algorithm: "sha512", hex: "0".repeat(128) });
  });

  it.each([
    "sha256:",
    `sha256:${"a".repeat(63)}`,
    `sha512:${"a".repeat(64)}`,
    `md5:${"a".repeat(32)}`,
    "a".repeat(64),
    `sha256:${"g".repeat(64)}`,
  ])("is nothing else: %s", (text) => {
    expect(() => parseChecksum(text)).toThrow(refused("ChecksumInvalid", "INVALID_ARGUMENT"));
  });
});

describe("what several want of one image", () => {
  const noise = Buffer.alloc(1024, 7);
  const disk = Buffer.alloc(1024);
  disk.write("\x55\xaa", 510, "latin1");
  const right = { checksum: { algorithm: "sha256", hex: "1".repeat(64) }, format: null } as const;
  const wrong = { checksum: { algorithm: "sha512", hex: "3".repeat(128) }, format: null } as const;
  const any = { checksum: null, format: null } as const;
  const digests = { sha256: "1".repeat(64), sha512: "2".repeat(128) };

  it("is fulfilled where one of them wants what it is", () => {
    expect(factsFor([any, { ...any, format: "raw" }], noise, 1024).format).toBe("raw");
    expect(factsFor([{ ...any, format: "qcow2" }, any], disk, 1024).format).toBe("raw");
    expect(() => factsFor([any], noise, 1024)).toThrow(refused("ImageFormatUnknown"));
    expect(() => factsFor([], noise, 1024)).toThrow(refused("ImageFormatUnknown"));
    expect(() => factsFor([{ ...any, format: "qcow2" }], disk, 1024)).toThrow(refused("ImageFormatUnknown"));
    checkDigests([wrong, any], digests);
    checkDigests([wrong, right], digests);
    checkDigests([], digests);
    expect(() => checkDigests([wrong], digests)).toThrow(refused("ImageChecksumMismatch"));
  });

  it("is checked for each of them against what is kept", () => {
    const record = recordOf({ served: digests });
    checkWish(right, record);
    checkWish({ ...any, format: "raw" }, record);
    expect(() => checkWish(wrong, record)).toThrow(refused("ImageChecksumMismatch"));
    expect(() => checkWish({ ...any, format: "qcow2" }, record)).toThrow(refused("ImageFormatMismatch"));
    expect(isKnown(wrong, record)).toBe(true);
    expect(isKnown(wrong, recordOf({ served: null }))).toBe(false);
    expect(isKnown(any, recordOf({ served: null }))).toBe(true);
  });
});

describe("accounts of image servers", () => {
  const target = (text: string, trusted = false) => ({ url: new URL(text), trusted });
  const asked: string[] = [];
  const find: FindCredential = async (registry) => {
    asked.push(registry);
    return registry.startsWith("open") ? null : { username: "ann", password: "pässword:1" };
  };

  it("are told to a server that asks for them, and from then on to it alone", async () => {
    const accounts = new HttpAccounts(find);
    const server = target("https://images.example:8443/a");
    expect(accounts.known(server)).toEqual({});
    const headers = await accounts.find(server, 'Digest x="1", Basic realm="images"', signal);
    expect(Buffer.from(headers?.["authorization"]?.slice("Basic ".length) ?? "", "base64").toString()).toBe("ann:pässword:1");
    expect(accounts.known(target("https://images.example:8443/b"))).toEqual(headers);
    expect(asked).toEqual(["images.example:8443"]);
    for (const other of ["https://images.example/a", "http://images.example:8443/a", "https://other.example:8443/a"]) {
      expect(accounts.known(target(other))).toEqual({});
    }
  });

  it("are not told in the clear, unless the host's configuration names the server", async () => {
    const accounts = new HttpAccounts(find);
    expect(await accounts.find(target("http://images.example/a"), "Basic", signal)).toBeNull();
    expect(await accounts.find(target("http://images.example/a", true), "Basic", signal)).not.toBeNull();
  });

  it("are not looked for where they are of no use", async () => {
    const before = asked.length;
    const server = target("https://images.example/a");
    expect(await new HttpAccounts(null).find(server, "Basic", signal)).toBeNull();
    expect(await new HttpAccounts(find).find(server, "Bearer realm=basic", signal)).toBeNull();
    expect(await new HttpAccounts(find).find(server, undefined, signal)).toBeNull();
    expect(asked).toHaveLength(before);
    expect(await new HttpAccounts(find).find(target("https://open.example/a"), "Basic", signal)).toBeNull();
  });
});

describe("the record of an image", () => {
  it("is read as it was written, and of earlier days too", () => {
    const record = recordOf({ reference: "name:debian", source: "https://x.example/d", sequence: 3 });
    expect(readRecord(writeRecord(record))).toEqual(record);
    const { reference, served: _1, validator: _2, source: _3, sequence: _4, ...old } = recordOf({ reference: "https://x.example/d" });
    expect(readRecord(Buffer.from(JSON.stringify({ ...old, url: reference })))).toEqual(recordOf({ reference: "https://x.example/d" }));
  });

  it("is none where it was cut off or says what cannot be", () => {
    const content = writeRecord(recordOf({}));
    for (const length of [0, 1, content.length - 3]) expect(readRecord(content.subarray(0, length))).toBeNull();
    expect(readRecord(Buffer.from("null"))).toBeNull();
    expect(readRecord(Buffer.from(JSON.stringify({ ...recordOf({}), sha256: "../x" })))).toBeNull();
  });

  it("has files that nothing else is called by", () => {
    const files = [...recordFiles("https://x.example/d"), usedFile("1".repeat(64))];
    for (const name of files) expect(name).toMatch(OWN_FILE);
    expect(new Set(files).size).toBe(3);
    expect("url-0123.json").not.toMatch(OWN_FILE);
  });
});

it("an image is held as long as one of those who hold it does", () => {
  const pins = new ImagePins();
  const [first, second] = [pins.hold("/a"), pins.hold("/a")];
  first[Symbol.dispose]();
  first[Symbol.dispose]();
  expect(pins.has("/a")).toBe(true);
  second[Symbol.dispose]();
  expect(pins.has("/a")).toBe(false);
});

describe("the room in a pool", () => {
  const poolWith = (free: { bytes: number; looks: number }) =>
    ({
      refresh: async () => {
        free.looks += 1;
      },
      freeBytes: async () => free.bytes,
    }) as unknown as StoragePool;

  it("is kept for files that are being written, less what the host needs for itself", async () => {
    const free = { bytes: 256 * MIB + 100, looks: 0 };
    const space = new PoolSpace(poolWith(free));
    await expect(space.claim(101, signal)).rejects.toEqual(refused("InsufficientDisk"));
    const first = await space.claim(60, signal);
    await expect(space.claim(41, signal)).rejects.toEqual(refused("InsufficientDisk"));
    const second = await space.claim(40, signal);
    first.release();
    second.release();
    (await space.claim(100, signal)).release();
  });

  it("is looked at again while a file grows of which nobody knew how large it is, or that others write beside", async () => {
    const free = { bytes: 300 * MIB, looks: 0 };
    const claim = await new PoolSpace(poolWith(free)).claim(null, signal);
    await claim.take(40 * MIB);
    free.bytes -= 40 * MIB;
    await expect(claim.take(5 * MIB)).rejects.toEqual(refused("InsufficientDisk"));
    expect(free.looks).toBe(2);
    free.bytes += 100 * MIB;
    await claim.take(5 * MIB);

    const roomy = { bytes: 2 ** 40, looks: 0 };
    const large = await new PoolSpace(poolWith(roomy)).claim(3 * 2 ** 30, signal);
    for (let gib = 0; gib < 2; gib++) for (let part = 0; part < 16; part++) await large.take(64 * MIB);
    roomy.bytes = 256 * MIB;
    await expect(large.take(MIB)).rejects.toEqual(refused("InsufficientDisk"));
  });
});

function recordOf(changes: Partial<FetchRecord>): FetchRecord {
  return {
    reference: "https://x.example/d",
    volume: "url-1.img",
    size: 1024,
    sha256: "1".repeat(64),
    format: "raw",
    virtualSize: 1024,
    fetchedAt: "2026-11-21T10:00:00.000Z",
    served: null,
    validator: null,
    source: null,
    sequence: 0,
    ...changes,
  };
}
