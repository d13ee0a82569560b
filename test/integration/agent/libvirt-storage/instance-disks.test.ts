import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, stat, symlink, truncate, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { InstanceDisks } from "../../../../agent/drivers/libvirt/storage/instance-disks.ts";
import type { InstanceStorage } from "../../../../agent/drivers/libvirt/storage/instance-storage.ts";
import { storagePlan } from "../../../../agent/drivers/libvirt/storage/storage-plan.ts";
import { StoragePools } from "../../../../agent/drivers/libvirt/storage/storage-pools.ts";
import { poolXml } from "../../../../agent/drivers/libvirt/storage/storage-xml.ts";
import { createLogger } from "../../../../platform/observability/log.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import { planFor, qemuImage, qemuImageInfo, StorageHost } from "../../../support/storage-host.ts";

const MIB = 2 ** 20;
const GIB = 2 ** 30;

function refused(reason: string, code = "FAILED_PRECONDITION") {
  return expect.objectContaining({ code, reason });
}

const ignored = () => undefined;

describeWithPeers("storage of instances", "libvirt", () => {
  let host: StorageHost;
  let storage: InstanceStorage;
  const signal = AbortSignal.timeout(60_000);

  beforeAll(async () => {
    host = await StorageHost.start();
    await mkdir(host.images);
    await qemuImage(host.images, "create", "-q", "-f", "qcow2", "debian-12.qcow2", "64M");
    await writeFile(join(host.images, "vmlinuz"), "kernel");
    await writeFile(join(host.images, "initrd.img"), "initrd");
    storage = host.storage();
    await storage.ensurePools(signal);
  });

  afterAll(() => host[Symbol.asyncDispose]());

  const prepare = (id: string, spec: Parameters<typeof planFor>[1]) => storage.prepare(planFor(id, spec), ignored, signal);
  const path = (name: string) => join(host.instances, name);

  describe("prepare", () => {
    it("puts the boot disk on top of the image and names both formats", async () => {
      const { disks, kernel, initrd, seed } = await prepare("inst-overlay", {
        image: "debian-12",
        disks: [
          { name: "root", sizeBytes: GIB, boot: true, type: "ssd" },
          { name: "data", sizeBytes: 100_000 },
        ],
      });
      expect(disks).toEqual([
        { name: "root", path: path("inst-overlay.root.qcow2"), format: "qcow2", boot: true, type: "ssd", sizeBytes: GIB },
        { name: "data", path: path("inst-overlay.data.qcow2"), format: "qcow2", boot: false, type: "", sizeBytes: 100_352 },
      ]);
      expect([kernel, initrd, seed]).toEqual([null, null, null]);
      expect(await qemuImageInfo(path("inst-overlay.root.qcow2"))).toMatchObject({
        format: "qcow2",
        "virtual-size": GIB,
        "backing-filename": join(host.images, "debian-12.qcow2"),
        "backing-filename-format": "qcow2",
        "format-specific": { data: { compat: "1.1" } },
      });
      const data = await qemuImageInfo(path("inst-overlay.data.qcow2"));
      expect(data).toMatchObject({ format: "qcow2", "virtual-size": 100_352 });
      expect(data["backing-filename"]).toBeUndefined();
      expect((await stat(path("inst-overlay.root.qcow2"))).mode & 0o777).toBe(0o600);
    });

    it("without disks, gives one of the image's size", async () => {
      expect((await prepare("inst-plain", { image: "debian-12" })).disks).toMatchObject([
        { name: "root", boot: true, sizeBytes: 64 * MIB },
      ]);
    });

    it("stands on raw images too, with their format named", async () => {
      const disk = Buffer.alloc(MIB);
      disk.write("\x55\xaa", 510, "latin1");
      await writeFile(join(host.images, "alpine.img"), disk);
      await prepare("inst-raw", { image: join(host.images, "alpine.img") });
      expect(await qemuImageInfo(path("inst-raw.root.qcow2"))).toMatchObject({ "virtual-size": MIB, "backing-filename-format": "raw" });
    });

    it("gives kernel and initial RAM disk from the image directory, with an empty boot disk", async () => {
      const spec = { kernel: join(host.images, "vmlinuz"), initrd: "initrd", disks: [{ name: "root", sizeBytes: MIB, boot: true }] };
      const { disks, kernel, initrd } = await prepare("inst-kernel", spec);
      expect([kernel, initrd]).toEqual([join(host.images, "vmlinuz"), join(host.images, "initrd.img")]);
      expect(disks).toMatchObject([{ boot: true, sizeBytes: MIB }]);
      expect((await prepare("inst-diskless", { kernel: "vmlinuz" })).disks).toEqual([]);
    });

    it("refuses a disk that is smaller than its image, and makes nothing", async () => {
      const disks = [
        { name: "data", sizeBytes: MIB },
        { name: "root", sizeBytes: 63 * MIB, boot: true },
      ];
      await expect(prepare("inst-small", { image: "debian-12", disks })).rejects.toEqual(refused("DiskTooSmall"));
      expect((await host.instanceFiles()).filter((name) => name.startsWith("inst-small."))).toEqual([]);
    });

    it("says which images there are, where one is missing", async () => {
      await expect(prepare("inst-none", { image: "debian-13" })).rejects.toMatchObject({
        code: "FAILED_PRECONDITION",
        reason: "ImageNotFound",
        message: expect.stringContaining("debian-12.qcow2"),
        details: { field: "spec.image", available: expect.arrayContaining(["debian-12.qcow2"]) },
      });
      await expect(prepare("inst-none", { image: "debian-12", kernel: "nope" })).rejects.toMatchObject({
        details: { field: "spec.kernel" },
      });
    });

    it("finds an image that was put there a moment ago, and prefers the exact name", async () => {
      await qemuImage(host.images, "create", "-q", "-f", "qcow2", "late.qcow2", "1M");
      expect((await prepare("inst-late1", { image: "late" })).disks).toMatchObject([{ sizeBytes: MIB }]);
      await qemuImage(host.images, "create", "-q", "-f", "qcow2", "late", "2M");
      await expect(prepare("inst-other", { image: "another" })).rejects.toEqual(refused("ImageNotFound"));
      expect((await prepare("inst-late2", { image: "late" })).disks).toMatchObject([{ sizeBytes: 2 * MIB }]);
    });

    it("looks again at an image that was replaced under its name", async () => {
      await qemuImage(host.images, "create", "-q", "-f", "qcow2", "changing.qcow2", "1M");
      await prepare("inst-change1", { image: "changing" });
      await qemuImage(host.images, "create", "-q", "-f", "qcow2", "-b", "debian-12.qcow2", "-F", "qcow2", "changing.qcow2");
      await expect(prepare("inst-change2", { image: "changing" })).rejects.toEqual(refused("ImageHasBackingFile"));
    });

    it("does not take a directory or a link to a device for an image", async () => {
      await mkdir(join(host.images, "folder"));
      await symlink("/dev/zero", join(host.images, "zero"));
      await expect(prepare("inst-folder", { image: "folder" })).rejects.toEqual(refused("ImageNotFound"));
      await expect(prepare("inst-folder", { image: "zero" })).rejects.toEqual(refused("ImageNotFound"));
    });
  });

  describe("a cloud-init seed", () => {
    it("lies beside the disks as it was made, and is written anew where it was cut off", async () => {
      const plan = planFor("inst-seed", { image: "debian-12", cloudInit: { userData: "#cloud-config\n" } });
      const { seed } = await storage.prepare(plan, ignored, signal);
      expect(seed).toBe(path("inst-seed.seed.iso"));
      const whole = await readFile(path("inst-seed.seed.iso"));
      expect(whole.includes("instance-id: inst-seed")).toBe(true);
      expect(await storage.existing(plan, signal)).toMatchObject({ seed });

      await truncate(path("inst-seed.seed.iso"), 3000);
      expect(await storage.existing(plan, signal)).toBeNull();
      await storage.prepare(plan, ignored, signal);
      expect((await readFile(path("inst-seed.seed.iso"))).equals(whole)).toBe(true);
    });
  });

  describe("prepare, repeated", () => {
    const plan = planFor("inst-again", {
      image: "debian-12",
      disks: [
        { name: "root", sizeBytes: 0, boot: true },
        { name: "data", sizeBytes: MIB },
      ],
    });

    it("keeps what is there", async () => {
      const first = await storage.prepare(plan, ignored, signal);
      const { ino } = await stat(path("inst-again.root.qcow2"));
      expect(await host.storage().prepare(plan, ignored, signal)).toEqual(first);
      expect(await storage.existing(plan, signal)).toEqual(first);
      expect((await stat(path("inst-again.root.qcow2"))).ino).toBe(ino);
    });

    it.each<[string, (file: string) => Promise<void>]>([
      ["empty", (file) => truncate(file, 0)],
      ["cut off within its header", (file) => truncate(file, 50)],
      ["without its size", (file) => qemuImage(host.instances, "create", "-q", "-f", "qcow2", file, "0")],
      ["without its image", (file) => qemuImage(host.instances, "create", "-q", "-f", "qcow2", file, "64M")],
      ["missing", (file) => unlink(file)],
    ])("makes a disk anew that is %s", async (_what, spoil) => {
      await storage.prepare(plan, ignored, signal);
      const file = path("inst-again.root.qcow2");
      await spoil(file);
      expect(await storage.existing(plan, signal)).toBeNull();
      await storage.prepare(plan, ignored, signal);
      expect(await qemuImageInfo(file)).toMatchObject({
        "virtual-size": 64 * MIB,
        "backing-filename": join(host.images, "debian-12.qcow2"),
      });
    });

    it("finds a file that libvirt has not seen: left by a daemon that was killed", async () => {
      await storage.prepare(plan, ignored, signal);
      const late = planFor("inst-unseen", plan.spec);
      await writeFile(path("inst-unseen.root.qcow2"), "");
      await qemuImage(host.instances, "create", "-q", "-f", "qcow2", "inst-unseen.data.qcow2", "1M");
      const { ino } = await stat(path("inst-unseen.data.qcow2"));
      expect(await storage.prepare(late, ignored, signal)).toMatchObject({ disks: [{ sizeBytes: 64 * MIB }, { sizeBytes: MIB }] });
      expect((await stat(path("inst-unseen.data.qcow2"))).ino).toBe(ino);
    });

    it("throws nothing away that may hold data", async () => {
      const strange = path("inst-strange.root.qcow2");
      await writeFile(strange, Buffer.alloc(5 * MIB, 1));
      const spec = {
        image: "debian-12",
        disks: [
          { name: "data", sizeBytes: MIB },
          { name: "root", boot: true, sizeBytes: 0 },
        ],
      };
      await expect(prepare("inst-strange", spec)).rejects.toEqual(refused("DiskUnexpected"));
      expect(existsSync(strange)).toBe(true);
      // What was made before is undone.
      expect((await host.instanceFiles()).filter((name) => name.startsWith("inst-strange."))).toEqual(["inst-strange.root.qcow2"]);
    });
  });

  it("a file that appears while a disk is made is not taken for one's own", async () => {
    const pools = new StoragePools({
      client: host.client,
      log: createLogger({ name: "test", level: "silent" }),
      imageDir: host.images,
      instanceDirs: { default: host.instances },
    });
    const disks = new InstanceDisks(pools, createLogger({ name: "test", level: "silent" }));
    const {
      disks: [root],
    } = storagePlan(planFor("inst-sudden", { image: "debian-12" }), host.images);
    const image = { path: join(host.images, "debian-12.qcow2"), format: "qcow2", virtualSize: 64 * MIB } as const;
    const made = new Set<string>();
    const notes = { note: (_pool: unknown, name: string) => made.add(name), forget: (_pool: unknown, name: string) => made.delete(name) };
    await disks.refresh(signal);
    await writeFile(path("inst-sudden.root.qcow2"), Buffer.alloc(5 * MIB, 1));
    await expect(disks.ensure(root!, image, notes, signal)).rejects.toEqual(refused("DiskUnexpected"));
    expect([...made]).toEqual([]);
  });

  describe("resize", () => {
    it("grows disks, and does nothing the second time", async () => {
      await prepare("inst-grow", {
        image: "debian-12",
        disks: [
          { name: "root", boot: true, sizeBytes: 0 },
          { name: "data", sizeBytes: MIB },
        ],
      });
      const larger = planFor("inst-grow", {
        image: "debian-12",
        disks: [
          { name: "root", boot: true, sizeBytes: GIB },
          { name: "data", sizeBytes: 0x200001 },
        ],
      });
      // Without a size, a data disk would be refused: 0 is allowed for the one with the image alone.
      await storage.resize(larger, signal);
      await storage.resize(larger, signal);
      expect(await storage.existing(larger, signal)).toMatchObject({ disks: [{ sizeBytes: GIB }, { sizeBytes: 0x200400 }] });
      expect(await qemuImageInfo(path("inst-grow.root.qcow2"))).toMatchObject({
        "virtual-size": GIB,
        "backing-filename": join(host.images, "debian-12.qcow2"),
      });
    });

    it("refuses to shrink any, before it grows another", async () => {
      await prepare("inst-shrink", {
        image: "debian-12",
        disks: [
          { name: "root", boot: true, sizeBytes: 0 },
          { name: "data", sizeBytes: 2 * MIB },
        ],
      });
      const spec = {
        image: "debian-12",
        disks: [
          { name: "root", boot: true, sizeBytes: GIB },
          { name: "data", sizeBytes: MIB },
        ],
      };
      await expect(storage.resize(planFor("inst-shrink", spec), signal)).rejects.toEqual(refused("DiskShrink"));
      expect(await qemuImageInfo(path("inst-shrink.root.qcow2"))).toMatchObject({ "virtual-size": 64 * MIB });
    });

    it("says which disk is missing", async () => {
      await expect(storage.resize(planFor("inst-absent", { image: "debian-12" }), signal)).rejects.toEqual(refused("DiskMissing"));
    });
  });

  describe("remove", () => {
    it("leaves no file of the instance, also of those that libvirt has not seen, and no other's", async () => {
      await prepare("inst-gone", {
        image: "debian-12",
        cloudInit: {},
        disks: [
          { name: "root", boot: true, sizeBytes: 0 },
          { name: "data", sizeBytes: MIB },
        ],
      });
      await prepare("inst-goner", { image: "debian-12" });
      await writeFile(path("inst-gone.left.qcow2"), "half");
      await storage.remove("inst-gone", signal);
      await storage.remove("inst-gone", signal);
      expect((await host.instanceFiles()).filter((name) => name.startsWith("inst-gone"))).toEqual(["inst-goner.root.qcow2"]);
      expect(await host.imageFiles()).toContain("debian-12.qcow2");
    });
  });

  describe("pools", () => {
    it("are libvirt's, running and not started by libvirt itself", async () => {
      const { pool } = await host.client.call("storagePoolLookupByName", { name: "fleetgraph-instances" });
      expect(await host.client.call("storagePoolIsActive", { pool })).toEqual({ active: true });
      expect(await host.client.call("storagePoolGetAutostart", { pool })).toEqual({ autostart: false });
    });

    it("are repaired where somebody stopped them, removed them, or removed their directory", async () => {
      const { pool } = await host.client.call("storagePoolLookupByName", { name: "fleetgraph-instances" });
      await host.client.call("storagePoolDestroy", { pool });
      await prepare("inst-repair1", { image: "debian-12" });
      await host.client.call("storagePoolDestroy", { pool });
      await host.client.call("storagePoolUndefine", { pool });
      await storage.remove("inst-repair1", signal);
      expect((await host.instanceFiles()).filter((name) => name.startsWith("inst-repair1."))).toEqual([]);

      const elsewhere = host.storage({ instanceDirs: { default: join(host.daemon.directory, "volatile") } });
      // Its name is taken by the pool of the other directory.
      await expect(elsewhere.ensurePools(signal)).rejects.toMatchObject({ code: "FAILED_PRECONDITION", reason: "PoolElsewhere" });
    });

    it("of other names are used where they have the directory already", async () => {
      const directory = join(host.daemon.directory, "shared");
      await host.client.call("storagePoolDefineXml", { xml: poolXml("somebody's", directory) });
      await mkdir(directory);
      const shared = host.storage({ instanceDirs: { default: host.instances, ssd: `${directory}/` } });
      await shared.ensurePools(signal);
      const plan = planFor("inst-fast", {
        image: "debian-12",
        disks: [
          { name: "root", boot: true, sizeBytes: 0, type: "ssd" },
          { name: "data", sizeBytes: MIB, type: "hdd" },
        ],
      });
      expect(await shared.prepare(plan, ignored, signal)).toMatchObject({
        disks: [
          { path: join(directory, "inst-fast.root.qcow2"), type: "ssd" },
          { path: path("inst-fast.data.qcow2"), type: "hdd" },
        ],
      });
      await shared.remove("inst-fast", signal);
      expect(existsSync(join(directory, "inst-fast.root.qcow2"))).toBe(false);
    });

    it("that were configured before still give up what is in them", async () => {
      const directory = join(host.daemon.directory, "hdd");
      const before = host.storage({ instanceDirs: { default: host.instances, hdd: directory } });
      const plan = planFor("inst-former", { image: "debian-12", disks: [{ name: "root", boot: true, sizeBytes: 0, type: "hdd" }] });
      const prepared = await before.prepare(plan, ignored, signal);
      expect(prepared.disks).toMatchObject([{ path: join(directory, "inst-former.root.qcow2") }]);
      const after = host.storage();
      await after.ensurePools(signal);
      expect(await after.existing(plan, signal)).toEqual(prepared);
      await after.remove("inst-former", signal);
      expect(existsSync(join(directory, "inst-former.root.qcow2"))).toBe(false);
    });

    it("may be one for images and instances, whose disks are no images for others", async () => {
      const both = join(host.daemon.directory, "parent", "both");
      const shared = host.storage({ imageDir: both, instanceDirs: { default: both, ssd: both } });
      await expect(shared.ensurePools(signal)).rejects.toEqual(refused("PoolElsewhere"));

      await using other = await StorageHost.start();
      const everything = other.storage({ imageDir: both, instanceDirs: { default: both, ssd: both } });
      await everything.ensurePools(signal);
      const { pools } = await other.client.call("connectListAllStoragePools", {});
      expect(pools.map(({ name }) => name)).toEqual(["fleetgraph-images"]);
      await qemuImage(both, "create", "-q", "-f", "qcow2", "alpine", "1M");
      await everything.prepare(planFor("inst-one", { image: "alpine", disks: [{ name: "root", type: "ssd" }] }), ignored, signal);
      const thief = planFor("inst-two", { image: "inst-one.root.qcow2" });
      await expect(everything.prepare(thief, ignored, signal)).rejects.toEqual(refused("ImageNameInvalid", "INVALID_ARGUMENT"));
      await everything.remove("inst-one", signal);
      expect(await readdir(both)).toEqual(["alpine"]);
    });

    it("tell how much is free", async () => {
      const free = await storage.freeBytes(signal);
      expect(free[""]).toBeGreaterThan(MIB);
      expect(free).toEqual({ "": free[""], ssd: free[""], hdd: free[""] });
    });
  });

  describe("many at a time", () => {
    it("do not get in each other's way", async () => {
      const ids = Array.from({ length: 12 }, (_, index) => `inst-many${index}`);
      const spec = {
        image: "debian-12",
        cloudInit: {},
        disks: [
          { name: "root", boot: true, sizeBytes: 0 },
          { name: "data", sizeBytes: MIB },
        ],
      };
      await Promise.all(ids.map((id) => prepare(id, spec)));
      expect((await host.instanceFiles()).filter((name) => name.startsWith("inst-many"))).toHaveLength(36);
      await Promise.all(ids.map(async (id, index) => (index % 2 === 0 ? storage.remove(id, signal) : prepare(id, spec))));
      await Promise.all(ids.map((id) => storage.remove(id, signal)));
      expect((await host.instanceFiles()).filter((name) => name.startsWith("inst-many"))).toEqual([]);
    });
  });
});
