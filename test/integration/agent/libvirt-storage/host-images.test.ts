import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rename, rm, symlink, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { InstanceStorage, StorageOptions } from "../../../../agent/drivers/libvirt/storage/instance-storage.ts";
import { InstanceType } from "../../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { ImageFormat, ImageSource, type NodeImage } from "../../../../schema/generated/proto/hypervisor/v1/images.ts";
import { ImageServer } from "../../../support/image-server.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import { seededRandom, seedOfRun } from "../../../support/random.ts";
import { planFor, qemuImage, qemuImageInfo, StorageHost } from "../../../support/storage-host.ts";
import { until } from "../../../support/until.ts";

const MIB = 2 ** 20;
const DAY_MS = 86_400_000;
const seed = seedOfRun();

type Source = Partial<ImageSource> & { ref: string };

function refused(reason: string, code = "FAILED_PRECONDITION") {
  return expect.objectContaining({ code, reason });
}

function digest(content: Buffer, algorithm: "sha256" | "sha512" = "sha256"): string {
  return `${algorithm}:${createHash(algorithm).update(content).digest("hex")}`;
}

const PACK = {
  gzip: (content: Buffer) => gzipSync(content, { level: 1 }),
  xz: (content: Buffer) => execFileSync("xz", ["--stdout", "-0"], { input: content, maxBuffer: 64 * MIB }),
  zstd: (content: Buffer) => zstdCompressSync(content),
};

describeWithPeers(`images of a host (SEED=${seed})`, ["libvirt", "tiny-guest"], () => {
  let host: StorageHost;
  let server: ImageServer;
  let storage: InstanceStorage;
  let signal: AbortSignal;
  const random = seededRandom(seed);
  let instances = 0;

  beforeAll(async () => {
    host = await StorageHost.start();
  });

  afterAll(() => host[Symbol.asyncDispose]());

  beforeEach(async () => {
    signal = AbortSignal.timeout(50_000);
    server = await ImageServer.start();
    storage = allowing();
    await storage.ensurePools(signal);
  });

  afterEach(async () => {
    await server.stop();
    const files = await readdir(host.instances);
    for (const id of new Set(files.map((name) => name.replace(/\..*$/, "")))) await storage.remove(id, signal);
    // Each test begins with an empty image directory.
    for (const name of await host.imageFiles()) await rm(join(host.images, name));
    await storage.ensurePools(signal);
  });

  function allowing(options: Partial<StorageOptions> = {}): InstanceStorage {
    return host.storage({ imageUrlPrefixes: [`${server.url}/`], ...options });
  }

  /** A disk of 3 MiB with data, different each time. */
  async function newDisk(...options: string[]): Promise<Buffer> {
    const raw = Buffer.alloc(3 * MIB);
    for (let at = 0; at < 2 * MIB; at += 4) raw.writeUInt32LE(Math.floor(random() * 2 ** 32), at);
    const directory = host.daemon.directory;
    await writeFile(join(directory, "disk.raw"), raw);
    await qemuImage(directory, "convert", "-f", "raw", "-O", "qcow2", ...options, "disk.raw", "disk.qcow2");
    return await readFile(join(directory, "disk.qcow2"));
  }

  async function pull(source: Source, { refresh = false, by = storage, told = [] as string[] } = {}): Promise<NodeImage> {
    const onProgress = ({ status, currentBytes, totalBytes }: { status: string; currentBytes: number; totalBytes: number }) => {
      told.push(`${status} ${currentBytes}/${totalBytes}`);
    };
    return await by.images.pullImage(ImageSource.create({ type: InstanceType.VM, ...source }), { refresh, onProgress }, signal);
  }

  /** Makes an instance of an image; gives what its disk stands on. */
  async function prepare(image: string, by = storage): Promise<string> {
    instances += 1;
    const { disks } = await by.prepare(planFor(`inst-img${instances}`, { image }), () => undefined, signal);
    return (await qemuImageInfo(disks[0]?.path ?? ""))["backing-filename"] ?? "";
  }

  const volumes = async () => (await host.imageFiles()).filter((name) => name.endsWith(".img"));
  const contentOf = async () => await Promise.all((await volumes()).map((name) => readFile(join(host.images, name))));

  describe("that are pulled", () => {
    it("are known by their digest, with names, sizes and times, and their progress is told", async () => {
      const disk = await newDisk();
      const url = server.serve("/debian.qcow2", disk, { chunkDelayMs: 1 });
      const told: string[] = [];
      const source = { ref: `${url}?token=secret`, checksum: digest(disk), format: ImageFormat.QCOW2, name: "debian-13" };
      const image = await pull(source, { told });
      expect(image).toEqual({
        id: digest(disk),
        names: ["debian-13", url].sort(),
        type: InstanceType.VM,
        format: ImageFormat.QCOW2,
        sizeBytes: disk.length,
        virtualSizeBytes: 3 * MIB,
        createdAt: undefined,
        pulledAt: expect.any(Date),
        lastUsedAt: undefined,
        inUse: false,
        managed: true,
        architecture: "",
      });
      expect(told[0]).toBe("downloading 0/0");
      expect(told.at(-1)).toBe(`checking ${disk.length}/${disk.length}`);
      expect(await storage.images.listImages(signal)).toEqual([image]);

      for (const name of ["debian-13", `${url}?token=secret`, image.id]) expect(await prepare(name)).toBe(await prepare("debian-13"));
      const [used] = await storage.images.listImages(signal);
      expect(used).toMatchObject({ inUse: true, lastUsedAt: expect.any(Date) });
      // An agent that starts again knows it, too.
      expect((await allowing().images.listImages(signal))[0]).toEqual(used);
      expect(server.requests).toHaveLength(1);
    });

    it("are one download, however many instances and pulls want one at the same time", async () => {
      const disk = await newDisk();
      const url = server.serve("/disk", disk, { chunkDelayMs: 5 });
      const checksum = digest(disk, "sha512");
      const wanted = [...Array.from({ length: 10 }, () => prepare(url)), pull({ ref: url, checksum, name: "ten" }).then(({ id }) => id)];
      const got = await Promise.all(wanted);
      expect(new Set(got)).toEqual(new Set([join(host.images, (await volumes())[0] ?? ""), digest(disk)]));
      expect(server.requests).toHaveLength(1);
      expect(server.requests[0]?.sentBytes).toBe(disk.length);
    });

    it("share one file where their content is the same, whatever they came from", async () => {
      const disk = await newDisk();
      await Promise.all([pull({ ref: server.serve("/a", disk) }), pull({ ref: server.serve("/b", disk), name: "b" })]);
      const packed = await pull({ ref: server.serve("/c.gz", PACK.gzip(disk)), checksum: digest(PACK.gzip(disk)) });
      expect(packed.names).toEqual(["b", ...["/a", "/b", "/c.gz"].map((path) => `${server.url}${path}`)]);
      expect(await volumes()).toHaveLength(1);
      expect(await prepare(`${server.url}/a`)).toBe(await prepare("b"));
    });

    it("move on when they are asked for anew, and leave the old base to the disks that stand on it", async () => {
      const [first, second] = [await newDisk(), await newDisk()];
      const url = server.serve("/disk", first, { headers: { etag: '"1"' } });
      await pull({ ref: url, name: "stable" });
      const old = await prepare("stable");
      // It is not fetched again while its server says that it is the same.
      await pull({ ref: url, name: "stable" }, { refresh: true });
      expect(server.requests.map(({ status }) => status)).toEqual([200, 304]);

      server.serve("/disk", second, { headers: { etag: '"2"' } });
      expect((await pull({ ref: url, name: "stable" })).id).toBe(digest(first));
      expect((await pull({ ref: url, name: "stable" }, { refresh: true })).id).toBe(digest(second));
      const now = await prepare("stable");
      expect((await readFile(now)).equals(second)).toBe(true);
      expect((await readFile(old)).equals(first)).toBe(true);
      const listed = await storage.images.listImages(signal);
      expect(listed.map(({ id, names }) => [id, names])).toEqual(
        expect.arrayContaining([
          [digest(first), []],
          [digest(second), ["stable", url].sort()],
        ]),
      );
      await expect(storage.images.deleteImage(digest(first), signal)).rejects.toEqual(refused("ImageInUse"));
    });

    it("do not take another image's name, unless they are meant to", async () => {
      const [one, other] = [server.serve("/one", await newDisk()), server.serve("/other", await newDisk())];
      await pull({ ref: one, name: "web" });
      await expect(pull({ ref: other, name: "web" })).rejects.toEqual(refused("ImageNameTaken"));
      expect(server.requestsFor("/other")).toEqual([]);
      await writeFile(join(host.images, "mine.qcow2"), await newDisk());
      await allowing().images.listImages(signal);
      for (const name of ["mine", "mine.qcow2"]) {
        await expect(pull({ ref: other, name })).rejects.toEqual(refused("ImageNameTaken"));
      }
      for (const name of ["../web", ".web", digest(Buffer.from("")), "http://x/y"]) {
        await expect(pull({ ref: other, name })).rejects.toEqual(refused("ImageNameInvalid", "INVALID_ARGUMENT"));
      }
      const moved = await pull({ ref: other, name: "web" }, { refresh: true });
      expect(moved.names).toEqual([other, "web"].sort());
      expect(await volumes()).toHaveLength(2);
    });

    it.each(["gzip", "xz", "zstd"] as const)("are unpacked on their way, by what they are: %s", async (packing) => {
      const disk = await newDisk("-c");
      const packed = PACK[packing](disk);
      const image = await pull({ ref: server.serve("/disk.img", packed), checksum: digest(packed, "sha512") });
      expect(image).toMatchObject({ id: digest(disk), sizeBytes: disk.length, format: ImageFormat.QCOW2, virtualSizeBytes: 3 * MIB });
      expect((await contentOf()).map((content) => content.equals(disk))).toEqual([true]);
      const raw = Buffer.alloc(2 * MIB);
      raw.write("\x55\xaa", 510, "latin1");
      expect(await pull({ ref: server.serve("/raw", PACK[packing](raw)) })).toMatchObject({ id: digest(raw), virtualSizeBytes: 2 * MIB });
    });

    it("are taken from files only below the folders that the host names", async () => {
      const folder = join(host.daemon.directory, "offered");
      const disk = await newDisk();
      await mkdir(folder, { recursive: true });
      await writeFile(join(folder, "disk.qcow2.zst"), PACK.zstd(disk));
      await writeFile(join(host.daemon.directory, "secret.qcow2"), disk);
      await symlink("../secret.qcow2", join(folder, "link"));
      execFileSync("mkfifo", [join(folder, "pipe")]);
      const by = allowing({ imageUrlPrefixes: [`file://${folder}/`] });
      expect((await pull({ ref: `file://${folder}/disk.qcow2.zst`, name: "local" }, { by })).names).toContain("local");
      await expect(pull({ ref: `file://${folder}/link` }, { by })).rejects.toEqual(refused("ImageUrlNotAllowed"));
      await expect(pull({ ref: `file://${folder}/pipe` }, { by })).rejects.toEqual(refused("ImageFetchFailed"));
      await expect(pull({ ref: `file://${folder}/none` }, { by })).rejects.toEqual(refused("ImageNotFound"));
      await expect(pull({ ref: `file://${host.daemon.directory}/secret.qcow2` }, { by })).rejects.toEqual(refused("ImageUrlNotAllowed"));
      await expect(pull({ ref: `file://${folder}/disk.qcow2.zst` })).rejects.toEqual(refused("ImageUrlNotAllowed"));
      expect(await volumes()).toHaveLength(1);
    });

    it("may lie in the image directory already: they are looked at, and their checksum with them", async () => {
      const disk = await newDisk();
      await writeFile(join(host.images, "mine.qcow2"), disk);
      const image = await pull({ ref: "mine", checksum: digest(disk), format: ImageFormat.QCOW2 });
      expect(image).toMatchObject({ names: ["mine.qcow2"], managed: false, sizeBytes: disk.length, virtualSizeBytes: 3 * MIB });
      await expect(pull({ ref: "mine", checksum: digest(Buffer.from("")) })).rejects.toEqual(refused("ImageChecksumMismatch"));
      await expect(pull({ ref: "mine", format: ImageFormat.RAW })).rejects.toEqual(refused("ImageFormatMismatch"));
      await expect(pull({ ref: "none" })).rejects.toEqual(refused("ImageNotFound"));
    });
  });

  describe("of a server that is restarted half way", () => {
    it.each([
      ["as it is", (disk: Buffer) => disk],
      ["packed", PACK.xz],
    ])("go on where they were: %s", async (_how, pack) => {
      const disk = await newDisk();
      const served = pack(disk);
      const url = server.serve("/disk", served, { headers: { etag: '"1"' }, chunkDelayMs: 20 });
      const pulled = pull({ ref: url, checksum: digest(served) }, { by: allowing({ fetch: { maxAttempts: 1000 } }) });
      await until(() => (server.requests[0]?.sentBytes ?? 0) > MIB, "the first half");
      await server.restart(() => until(async () => (await volumes()).length === 1));
      expect((await pulled).id).toBe(digest(disk));
      const [first, ...others] = server.requests;
      expect(first?.sentBytes).toBeLessThan(served.length);
      expect(others).toHaveLength(1);
      expect(others[0]).toMatchObject({ range: expect.stringMatching(/^bytes=[1-9]\d+-$/), ifRange: '"1"' });
      // What was sent before the end may not have arrived; not much of it comes twice.
      expect(others[0]?.sentBytes).toBeLessThan(served.length);
    });

    it("begin anew where the file is another one by then", async () => {
      const [disk, other] = [await newDisk(), await newDisk()];
      const url = server.serve("/disk", PACK.gzip(disk), { headers: { etag: '"1"' }, chunkDelayMs: 20 });
      const pulled = pull({ ref: url }, { by: allowing({ fetch: { maxAttempts: 1000 } }) });
      await until(() => (server.requests[0]?.sentBytes ?? 0) > MIB, "the first half");
      await server.restart(async () => {
        server.serve("/disk", PACK.gzip(other), { headers: { etag: '"2"' } });
      });
      expect((await pulled).id).toBe(digest(other));
      expect(await volumes()).toHaveLength(1);
    });
  });

  describe("of a server that knows who asks", () => {
    const credentials = { username: "ann", password: "s3cret" };
    const basic = `Basic ${Buffer.from("ann:s3cret").toString("base64")}`;

    it("are fetched by name and password, which no other server is told", async () => {
      await using other = await ImageServer.start();
      const disk = await newDisk();
      other.serve("/disk", disk);
      const url = server.serve("/disk", disk, { credentials, redirect: `${other.url}/disk` });
      const asked: string[] = [];
      const findCredential: NonNullable<StorageOptions["findCredential"]> = async (registry) => {
        asked.push(registry);
        return credentials;
      };
      const by = allowing({ imageUrlPrefixes: [`${server.url}/`, `${other.url}/`], findCredential });
      expect((await pull({ ref: url }, { by })).id).toBe(digest(disk));
      expect(asked).toEqual([new URL(server.url).host]);
      expect(server.requests.map(({ authorization }) => authorization)).toEqual([null, basic]);
      expect(other.requests.map(({ authorization }) => authorization)).toEqual([null]);
    });

    it("are fetched on by name and password when the transfer broke", async () => {
      const disk = await newDisk();
      const url = server.serve("/disk", disk, { credentials, headers: { etag: '"1"' }, breakAfterBytes: MIB, breaks: 1 });
      await pull({ ref: url }, { by: allowing({ findCredential: async () => credentials }) });
      expect(server.requests.map(({ status, authorization }) => [status, authorization])).toEqual([
        [401, null],
        [0, basic],
        [206, basic],
      ]);
    });

    it("are refused where there is no name, or a wrong one, or nobody can be asked for it", async () => {
      const url = server.serve("/disk", await newDisk(), { credentials });
      await expect(pull({ ref: url })).rejects.toEqual(refused("ImageAccessDenied"));
      const wrong = allowing({ findCredential: async () => ({ username: "ann", password: "other" }) });
      await expect(pull({ ref: url }, { by: wrong })).rejects.toEqual(refused("ImageAccessDenied"));
      const away = Object.assign(new Error("away"), { code: "UNAVAILABLE" });
      const nobody = allowing({ findCredential: () => Promise.reject(away) });
      await expect(pull({ ref: url }, { by: nobody })).rejects.toBe(away);
      expect(await host.imageFiles()).toEqual([]);
    });
  });

  describe("that are hostile or broken are refused, and nothing of them is kept:", () => {
    const fails = async (source: Source, reason: string, options: Partial<StorageOptions> = {}) => {
      await expect(pull(source, { by: allowing(options) })).rejects.toEqual(refused(reason));
      expect(await host.imageFiles()).toEqual([]);
    };
    const patched = (disk: Buffer, patch: (disk: Buffer) => void) => {
      const copy = Buffer.from(disk);
      patch(copy);
      return copy;
    };
    const backed = (disk: Buffer) =>
      patched(disk, (copy) => {
        copy.writeBigUInt64BE(0x200n, 8);
        copy.writeUInt32BE(11, 16);
        copy.write("/etc/passwd", 0x200);
      });

    it.each(["plain", "zstd"] as const)("a backing file, 16 TB of nothing, and half a file: %s", async (packing) => {
      const disk = await newDisk();
      const serve = (path: string, content: Buffer) =>
        server.serve(path, packing === "plain" ? content : PACK[packing](content), { headers: { etag: '"1"' } });
      await fails({ ref: serve("/backed", backed(disk)) }, "ImageHasBackingFile");
      await qemuImage(host.daemon.directory, "create", "-q", "-f", "qcow2", "huge.qcow2", "16T");
      await fails({ ref: serve("/huge", await readFile(join(host.daemon.directory, "huge.qcow2"))) }, "ImageTooLarge");
      await fails({ ref: serve("/half", disk.subarray(0, disk.length / 2)) }, "ImageMalformed");
      await fails({ ref: serve("/page", Buffer.from("<!DOCTYPE html>".padEnd(100_000))) }, "ImageFormatUnknown");
    });

    it("a wrong checksum, of the file or of what was packed in it", async () => {
      const disk = await newDisk();
      const url = server.serve("/disk", disk);
      await fails({ ref: url, checksum: digest(Buffer.from("")) }, "ImageChecksumMismatch");
      await fails({ ref: url, checksum: digest(Buffer.from(""), "sha512") }, "ImageChecksumMismatch");
      await fails({ ref: server.serve("/disk.gz", PACK.gzip(disk)), checksum: digest(disk) }, "ImageChecksumMismatch");
    });

    it("another format than was declared", async () => {
      const disk = await newDisk();
      await fails({ ref: server.serve("/disk", disk), format: ImageFormat.RAW }, "ImageFormatUnknown");
      const noise = server.serve("/noise", Buffer.alloc(MIB, 7));
      await fails({ ref: noise, format: ImageFormat.QCOW2 }, "ImageFormatUnknown");
      await fails({ ref: noise }, "ImageFormatUnknown");
      expect(await pull({ ref: noise, format: ImageFormat.RAW })).toMatchObject({ format: ImageFormat.RAW, virtualSizeBytes: MIB });
      // What one has said that it is, it is for all.
      expect((await readFile(await prepare(noise))).length).toBe(MIB);
    });

    it("an archive bomb, and one that is larger than allowed", async () => {
      const zeros = Buffer.alloc(24 * MIB);
      zeros.write("\x55\xaa", 510, "latin1");
      const url = server.serve("/bomb", PACK.xz(zeros));
      await fails({ ref: url }, "ArchiveBomb", { fetch: { unpackFreeBytes: 4 * MIB } });
      await fails({ ref: url }, "ImageTooLarge", { fetch: { maxBytes: 8 * MIB } });
      await fails({ ref: url }, "ImageTooLarge", { fetch: { maxDiskBytes: 8 * MIB } });
    });

    it("an archive in an archive, one that was cut off, one with something behind it", async () => {
      const packed = PACK.gzip(await newDisk());
      await fails({ ref: server.serve("/twice", PACK.zstd(packed)) }, "ImageFormatUnknown");
      await fails({ ref: server.serve("/cut", packed.subarray(0, packed.length - 5)) }, "ImageMalformed");
      await fails({ ref: server.serve("/more", Buffer.concat([packed, Buffer.from("and more")])) }, "ImageMalformed");
    });

    it("a wrong checksum does not spoil it for those who wait for the same image without one", async () => {
      const disk = await newDisk();
      const url = server.serve("/disk", disk, { chunkDelayMs: 5 });
      const wrong = expect(pull({ ref: url, checksum: digest(Buffer.from("")) })).rejects.toEqual(refused("ImageChecksumMismatch"));
      expect((await readFile(await prepare(url))).equals(disk)).toBe(true);
      await wrong;
      expect(server.requests).toHaveLength(1);
    });
  });

  describe("that are deleted", () => {
    it("are gone with all their names, unless somebody needs them, who is named", async () => {
      const disk = await newDisk();
      const url = server.serve("/disk", disk);
      await pull({ ref: url, name: "web" });
      await prepare("web");
      const id = `inst-img${instances}`;
      for (const name of ["web", url, digest(disk)]) {
        await expect(storage.images.deleteImage(name, signal)).rejects.toMatchObject({
          ...{ code: "FAILED_PRECONDITION", reason: "ImageInUse" },
          details: { instanceIds: [id], names: [] },
        });
      }
      await storage.remove(id, signal);
      expect(await storage.images.deleteImage("web", signal)).toBe(disk.length);
      expect(await host.imageFiles()).toEqual([]);
      await expect(storage.images.deleteImage("web", signal)).rejects.toEqual(refused("ImageNotFound", "NOT_FOUND"));
    });

    it("may be files that were put there by hand", async () => {
      const disk = await newDisk();
      await writeFile(join(host.images, "mine.qcow2"), disk);
      await writeFile(join(host.images, "vmlinuz"), Buffer.concat([Buffer.alloc(0x202), Buffer.from("HdrS"), Buffer.alloc(4096)]));
      await prepare("mine");
      await expect(storage.images.deleteImage("mine.qcow2", signal)).rejects.toEqual(refused("ImageInUse"));
      await storage.remove(`inst-img${instances}`, signal);
      await expect(storage.images.deleteImage("vmlinuz", signal)).rejects.toEqual(refused("ImageNotFound", "NOT_FOUND"));
      const [image] = await storage.images.listImages(signal);
      expect(image).toMatchObject({ names: ["mine.qcow2"], managed: false });
      expect(await storage.images.deleteImage(image?.id ?? "", signal)).toBe(disk.length);
      expect(await host.imageFiles()).toEqual(["vmlinuz"]);
    });

    it("are not while a domain has them as its disk", async () => {
      const disk = await newDisk();
      await pull({ ref: server.serve("/disk", disk), name: "web" });
      const path = join(host.images, (await volumes())[0] ?? "");
      const xml = `<domain type='qemu'><name>by-hand</name><memory>65536</memory><os><type>hvm</type></os><devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${path}'/><target dev='vda'/></disk></devices></domain>`;
      const { dom } = await host.client.call("domainDefineXmlFlags", { xml }, { signal });
      try {
        await expect(storage.images.deleteImage("web", signal)).rejects.toMatchObject({ details: { instanceIds: [], names: ["by-hand"] } });
      } finally {
        await host.client.call("domainUndefineFlags", { dom, flags: 0 }, { signal });
      }
      expect(await storage.images.deleteImage("web", signal)).toBe(disk.length);
    });
  });

  describe("that nobody needs any more", () => {
    const now = Date.now();
    const inDays = (days: number) => new Date(now + days * DAY_MS);
    const left = async () => (await storage.images.listImages(signal)).flatMap(({ names }) => names).filter((name) => !name.includes(":"));

    it("are removed after some time, but none that was put there by hand or that a disk stands on", async () => {
      await pull({ ref: server.serve("/unused", await newDisk()), name: "unused" });
      await pull({ ref: server.serve("/used", await newDisk()), name: "used" });
      await prepare("used");
      await writeFile(join(host.images, "mine.qcow2"), await newDisk());
      await storage.cleanUpImages(inDays(29), signal);
      expect((await left()).sort()).toEqual(["mine.qcow2", "unused", "used"]);
      await storage.cleanUpImages(inDays(31), signal);
      expect((await left()).sort()).toEqual(["mine.qcow2", "used"]);
      // Its time begins when its last disk is gone, also for an agent that was not there then.
      await storage.remove(`inst-img${instances}`, signal);
      storage = allowing();
      await storage.cleanUpImages(inDays(60), signal);
      expect((await left()).sort()).toEqual(["mine.qcow2", "used"]);
      await storage.cleanUpImages(inDays(62), signal);
      expect(await left()).toEqual(["mine.qcow2"]);
      expect(await host.imageFiles()).toEqual(["mine.qcow2"]);
    });

    it("are removed for space, unless they were just used", async () => {
      const names = ["oldest", "older", "newest"];
      for (const name of names) await pull({ ref: server.serve(`/${name}`, await newDisk()), name });
      for (const [index, name] of ["older", "newest"].entries()) {
        await prepare(name);
        await storage.remove(`inst-img${instances}`, signal);
        await allowing().cleanUpImages(inDays(index), signal);
      }
      const forSpace = allowing({ cleanup: { retentionDays: 0, minFreeBytes: Number.MAX_SAFE_INTEGER } });
      // One that was just used stays, however little is left.
      await forSpace.cleanUpImages(new Date(now + 60_000), signal);
      expect((await left()).sort()).toEqual(names.toSorted());
      const free = (await storage.freeBytes(signal))[""];
      const enough = allowing({ cleanup: { retentionDays: 0, minFreeBytes: free - 64 * 2 ** 30 } });
      await enough.cleanUpImages(inDays(1), signal);
      expect((await left()).sort()).toEqual(names.toSorted());
      await forSpace.cleanUpImages(inDays(1), signal);
      expect(await left()).toEqual([]);
    });
  });

  it("of earlier days, which were known by their URL alone, are found, shared and listed", async () => {
    const disk = await newDisk();
    const url = server.serve("/old", disk);
    await pull({ ref: url });
    const path = await prepare(url);
    for (const name of await host.imageFiles()) if (!name.endsWith(".img")) await unlink(join(host.images, name));
    const hash = createHash("sha256").update(url).digest("hex").slice(0, 32);
    const volume = `url-${hash}-01234567.img`;
    await rename(path, join(host.images, volume));
    const record = { url, volume, size: disk.length, sha256: digest(disk).slice(7), format: "qcow2", virtualSize: 3 * MIB };
    await writeFile(join(host.images, `url-${hash}.json`), JSON.stringify({ ...record, fetchedAt: "2026-11-01T10:00:00.000Z" }));
    storage = allowing();
    await storage.ensurePools(signal);
    expect(await storage.images.listImages(signal)).toEqual([expect.objectContaining({ id: digest(disk), names: [url] })]);
    expect(await prepare(url)).toBe(join(host.images, volume));
    expect((await pull({ ref: server.serve("/new", disk), name: "new" })).names).toHaveLength(3);
    expect(await volumes()).toEqual([volume]);
    expect(server.requestsFor("/old")).toHaveLength(1);
  });

  it("survive an agent that is killed at any moment: what is left is whole, or gone after the next start", async () => {
    const disk = await newDisk();
    for (let round = 0; round < 6; round++) {
      const client = host.connect();
      const killed = allowing({ client });
      const path = `/disk${round % 2}`;
      const url = server.serve(path, round % 2 === 0 ? disk : PACK.gzip(disk));
      const ended = pull({ ref: url, name: "killed" }, { by: killed, refresh: true }).catch(() => undefined);
      const moment = Math.floor(random() * 60);
      for (let turn = 0; turn < moment; turn++) await new Promise((resolve) => setImmediate(resolve));
      // As SIGKILL does it: the connection is gone at once, and nothing can be tidied up.
      await client.close();
      await ended;
      storage = allowing();
      await storage.ensurePools(signal);
      const images = await storage.images.listImages(signal);
      expect(images.map(({ id }) => id)).toEqual(images.length === 0 ? [] : [digest(disk)]);
      expect(await volumes()).toHaveLength(images.length);
    }
    expect((await pull({ ref: server.serve("/disk0", disk), name: "killed" }, { refresh: true })).names).toContain("killed");
  });
});
