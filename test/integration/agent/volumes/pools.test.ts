import { mkdir, readdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { makingFile } from "../../../../agent/drivers/libvirt/volumes/names.ts";
import { AttachedVolume } from "../../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { ImageFormat } from "../../../../schema/generated/proto/hypervisor/v1/images.ts";
import { CreatePoolRequest, CreateVolumeRequest, PoolKind } from "../../../../schema/generated/proto/hypervisor/v1/storage.ts";
import { DriverHost, soon } from "../../../support/driver-host.ts";
import { instancePlan, MIB } from "../../../support/instance-plans.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import { seededRandom, seedOfRun } from "../../../support/random.ts";
import { qemuImage, qemuImageInfo } from "../../../support/storage-host.ts";
import { until } from "../../../support/until.ts";

const HOSTILE = [
  "",
  ".",
  "..",
  "../x",
  "a/b",
  "/etc/passwd",
  "-rf",
  "a\0b",
  "a\nb",
  "a..b",
  "x".repeat(300),
  "fleetgraph-images\u202e",
  "é",
];

describeWithPeers("storage pools and volumes", ["network-namespaces", "libvirt", "tiny-guest"], () => {
  let host: DriverHost;
  const storage = () => host.driver.storage;
  const refusal = async (work: Promise<unknown>) => {
    const error = (await work.catch((thrown: unknown) => thrown)) as { code?: string; reason?: string };
    return `${error.code} ${error.reason}`;
  };
  const pool = (name: string, more: Parameters<typeof CreatePoolRequest.fromPartial>[0] = {}) =>
    storage().createPool(CreatePoolRequest.fromPartial({ name, kind: PoolKind.DIR, ...more }), soon());
  const volume = (name: string, more: Parameters<typeof CreateVolumeRequest.fromPartial>[0] = {}) =>
    storage().createVolume(
      CreateVolumeRequest.fromPartial({ pool: "data", name, format: ImageFormat.QCOW2, capacityBytes: 16 * MIB, ...more }),
      soon(),
    );
  const plan = (id: number, volumes: AttachedVolume[]) =>
    instancePlan(
      { kernel: "tiny-kernel", network: { networkId: "none" }, volumes },
      { instanceId: `inst-s${String(id).padStart(15, "0")}` },
    );
  const attached = (volumeName: string, readOnly = false) =>
    AttachedVolume.fromPartial({ name: "v", pool: "data", volume: volumeName, readOnly });
  const files = async () => (await readdir(join(host.poolRoot, "data"))).sort();

  beforeAll(async () => {
    host = await DriverHost.start(73);
    await mkdir(join(host.poolRoot, "theirs"), { recursive: true });
    await host.virsh("pool-create-as", "theirs", "dir", "--target", join(host.poolRoot, "theirs"));
    await host.virsh("vol-create-as", "theirs", "old.qcow2", "8M", "--format", "qcow2");
  }, 120_000);
  afterAll(async () => await host?.[Symbol.asyncDispose](), 60_000);

  test("all pools are shown; ours are made once, known by their mark, and run again after they were stopped", async () => {
    const made = await pool("data");
    expect(made).toMatchObject({ name: "data", kind: PoolKind.DIR, path: join(host.poolRoot, "data"), active: true, managed: true });
    expect(made.capacityBytes).toBeGreaterThan(0);
    expect(await pool("data", { path: join(host.poolRoot, "data") })).toMatchObject({ name: "data", active: true });
    expect(await refusal(pool("data", { path: join(host.poolRoot, "elsewhere") }))).toBe("ALREADY_EXISTS NameTaken");
    expect(await refusal(pool("theirs"))).toBe("ALREADY_EXISTS NameTaken");
    await host.virsh("pool-define-as", "disks", "logical", "--source-name", "vg0", "--target", "/dev/vg0");
    const kinds = (await storage().listPools(soon())).map(({ name, kind, managed, system, active }) => [
      name,
      kind,
      managed,
      system,
      active,
    ]);
    expect(kinds).toEqual([
      ["data", PoolKind.DIR, true, false, true],
      ["disks", PoolKind.OTHER, false, false, false],
      ["fleetgraph-images", PoolKind.DIR, false, true, true],
      ["fleetgraph-instances", PoolKind.DIR, false, true, true],
      ["fleetgraph-instances-ssd", PoolKind.DIR, false, true, true],
      ["theirs", PoolKind.DIR, false, false, true],
    ]);
    await host.virsh("pool-destroy", "data");
    await host.restartAgent();
    await until(async () => (await storage().listPools(soon()))[0]?.active === true, "the pool to run again", 30_000);
    for (const name of ["theirs", "fleetgraph-images"]) {
      expect(await refusal(storage().deletePool(name, true, soon()))).toBe("FAILED_PRECONDITION PoolNotManaged");
    }
  });

  test("a pool's directory stays within the folders for it, whatever leads out of them", async () => {
    const at = (path: string) => refusal(pool("outside", { path }));
    await symlink("/etc", join(host.poolRoot, "link"));
    await symlink("/nowhere/at/all", join(host.poolRoot, "dangling"));
    await writeFile(join(host.poolRoot, "file"), "");
    for (const path of ["/srv/pools/x", "/etc/x", host.poolRoot, "link/x", "link", "dangling/x", "file", "file/x"]) {
      expect(await at(path.startsWith("/") ? path : join(host.poolRoot, path)), path).toBe("FAILED_PRECONDITION PoolPathNotAllowed");
    }
    for (const path of [
      "pools/x",
      `${host.poolRoot}/../x`,
      `${host.poolRoot}//x`,
      `${host.poolRoot}/x/`,
      `${host.poolRoot}/x\0`,
      "x".repeat(3000),
    ]) {
      expect(await at(path), path).toBe("INVALID_ARGUMENT PoolPathInvalid");
    }
    for (const path of ["theirs", "theirs/below", "data/below"]) {
      expect(await at(join(host.poolRoot, path)), path).toBe("FAILED_PRECONDITION PoolOverlap");
    }
    for (const name of [...HOSTILE, "fleetgraph-mine"]) expect(await refusal(pool(name)), name).toBe("INVALID_ARGUMENT PoolNameInvalid");
    expect((await readdir(host.poolRoot)).sort()).toEqual(["dangling", "data", "file", "link", "theirs"]);
  });

  test("an NFS export is written as one, and one that cannot be mounted says why and leaves nothing", async () => {
    const at = (source: string) => refusal(pool("nfs", { kind: PoolKind.NETFS, source }));
    for (const source of ["", "server", "server:export", "-o:/x", "a b:/x", "server:/a/../b", "server:/a\nb", ":/x", "server:/x,rw"]) {
      expect(await at(source), source).toBe("INVALID_ARGUMENT PoolSourceInvalid");
    }
    // No kernel of a test machine has NFS, or its server refuses: either way mount says so.
    const error = await pool("nfs", { kind: PoolKind.NETFS, source: "127.0.0.1:/export" }).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "FAILED_PRECONDITION", reason: "PoolInactive", message: expect.stringMatching(/mount/) });
    expect((await storage().listPools(soon())).some(({ name }) => name === "nfs")).toBe(false);
    expect(await readdir(host.poolRoot)).not.toContain("nfs");
  });

  test("volumes are made once, empty or as a copy of an image, grow, and go", async () => {
    const empty = await volume("empty");
    expect(empty).toMatchObject({
      pool: "data",
      name: "empty",
      format: ImageFormat.QCOW2,
      capacityBytes: 16 * MIB,
      managed: true,
      usedBy: [],
    });
    expect(await volume("empty")).toEqual(empty);
    expect(await refusal(volume("empty", { capacityBytes: 8 * MIB }))).toBe("ALREADY_EXISTS NameTaken");
    expect(await refusal(volume("empty", { format: ImageFormat.RAW }))).toBe("ALREADY_EXISTS NameTaken");
    expect(await volume("plain", { format: ImageFormat.RAW, capacityBytes: 4 * MIB })).toMatchObject({ capacityBytes: 4 * MIB });
    const copy = await volume("copy", { image: "tiny.qcow2", capacityBytes: 96 * MIB });
    expect(copy).toMatchObject({ capacityBytes: 96 * MIB, format: ImageFormat.QCOW2 });
    const info = await qemuImageInfo(copy.path);
    expect([info.format, info["virtual-size"], info["backing-filename"]]).toEqual(["qcow2", 96 * MIB, undefined]);
    expect(await refusal(volume("small", { image: "tiny.qcow2", capacityBytes: 1 * MIB }))).toBe("FAILED_PRECONDITION VolumeTooSmall");
    expect(await refusal(volume("none", { image: "nothing.qcow2" }))).toBe("FAILED_PRECONDITION ImageNotFound");
    expect(await refusal(volume("huge", { capacityBytes: 2 ** 60 }))).toBe("INVALID_ARGUMENT CapacityInvalid");
    expect(await refusal(volume("theirs", { pool: "theirs" }))).toBe("FAILED_PRECONDITION PoolNotManaged");
    expect(await refusal(volume("theirs", { pool: "nowhere" }))).toBe("NOT_FOUND undefined");
    for (const name of HOSTILE) expect(await refusal(volume(name)), name).toBe("INVALID_ARGUMENT VolumeNameInvalid");

    const grow = (name: string, bytes: number) => storage().resizeVolume({ pool: "data", name }, bytes, soon());
    expect(await grow("empty", 32 * MIB)).toMatchObject({ capacityBytes: 32 * MIB });
    expect(await grow("plain", 8 * MIB)).toMatchObject({ capacityBytes: 8 * MIB });
    expect(await refusal(grow("empty", 16 * MIB))).toBe("FAILED_PRECONDITION VolumeShrink");
    expect(await refusal(grow("gone", 16 * MIB))).toBe("NOT_FOUND undefined");

    await writeFile(join(host.poolRoot, "data", "notes.txt"), "somebody's");
    const listed = await storage().listVolumes("", soon());
    expect(listed.filter((one) => one.pool === "data").map(({ name, managed }) => [name, managed])).toEqual([
      ["copy", true],
      ["empty", true],
      ["notes.txt", false],
      ["plain", true],
    ]);
    expect(listed).toContainEqual(expect.objectContaining({ pool: "theirs", name: "old.qcow2", managed: false }));
    const remove = (poolName: string, name: string) => storage().deleteVolume({ pool: poolName, name }, soon());
    expect(await refusal(remove("data", "notes.txt"))).toBe("FAILED_PRECONDITION VolumeNotManaged");
    expect(await refusal(remove("theirs", "old.qcow2"))).toBe("FAILED_PRECONDITION VolumeNotManaged");
    expect(await refusal(remove("data", "../theirs/old.qcow2"))).toBe("INVALID_ARGUMENT VolumeNameInvalid");
    await remove("data", "copy");
    await remove("data", "copy");
    await remove("nowhere", "copy");
    expect(await files()).toEqual(["empty.qcow2", "notes.txt", "plain.raw"]);
  });

  test("a volume is one instance's, or many read it; what it holds is never asked what it is", async () => {
    const quiet = () => undefined;
    const one = await host.driver.create(plan(1, [attached("empty")]), quiet, soon());
    expect(await refusal(host.driver.create(plan(2, [attached("empty")]), quiet, soon()))).toBe("FAILED_PRECONDITION VolumeInUse");
    expect(await refusal(host.driver.create(plan(2, [attached("empty", true)]), quiet, soon()))).toBe("FAILED_PRECONDITION VolumeInUse");
    expect(await refusal(host.driver.create(plan(2, [attached("absent")]), quiet, soon()))).toBe("FAILED_PRECONDITION VolumeMissing");
    await storage().plug({ nativeId: one.nativeId }, [attached("plain", true)], [], soon());
    const two = plan(2, [attached("plain", true)]);
    await host.driver.create(two, quiet, soon());
    expect(await refusal(host.driver.create(plan(3, [attached("plain")]), quiet, soon()))).toBe("FAILED_PRECONDITION VolumeInUse");
    const plain = (await storage().listVolumes("data", soon())).find(({ name }) => name === "plain");
    expect(plain?.usedBy).toEqual([plan(1, []).instanceId, two.instanceId]);
    expect(await refusal(storage().deleteVolume({ pool: "data", name: "plain" }, soon()))).toBe("FAILED_PRECONDITION VolumeInUse");
    expect(await refusal(storage().deletePool("data", true, soon()))).toBe("FAILED_PRECONDITION PoolInUse");

    // As a guest could write it into its raw disk, and anybody into the directory.
    await qemuImage(join(host.poolRoot, "data"), "create", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", "evil.qcow2", "1M");
    await qemuImage(join(host.poolRoot, "data"), "create", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", "told.raw", "1M");
    expect(await refusal(host.driver.create(plan(3, [attached("evil")]), quiet, soon()))).toBe("FAILED_PRECONDITION VolumeUnusable");
    const three = await host.driver.create(plan(3, [attached("told")]), quiet, soon());
    expect(await host.virsh("dumpxml", three.name)).toMatch(/type='raw'[\s\S]*told\.raw/);
    expect(await refusal(storage().resizeVolume({ pool: "data", name: "told" }, 16 * MIB, soon()))).toBe(
      "FAILED_PRECONDITION VolumeContent",
    );

    await host.driver.remove({ nativeId: one.nativeId }, soon());
    await storage().plug({ instanceId: two.instanceId }, [], [], soon());
    await host.virsh("vol-delete", "told.raw", "data");
    const start = () => host.driver.start({ instanceId: three.name }, soon());
    expect(await refusal(start())).toBe("FAILED_PRECONDITION VolumeMissing");
    for (const id of [2, 3]) await host.driver.remove({ instanceId: plan(id, []).instanceId }, soon(), { keepDisks: true });
    for (const name of ["evil", "plain"]) await storage().deleteVolume({ pool: "data", name }, soon());
    expect(await files()).toEqual(["empty.qcow2", "notes.txt"]);
  });

  test("libvirt's end in the middle of a copy leaves nothing that passes for a volume, and the copy is made when it is asked for again", async () => {
    const seed = seedOfRun();
    const random = seededRandom(seed);
    for (let round = 0; round < 2; round++) {
      const making = volume("cut", { image: "tiny.qcow2", capacityBytes: 0 }).then(
        () => "made",
        (error: { code: string }) => error.code,
      );
      await delay(random() * 300);
      await host.host.libvirt.kill();
      await host.host.libvirt.start();
      expect(["made", "UNAVAILABLE"], `SEED=${seed}`).toContain(await making);
      const again = async () => await volume("cut", { image: "tiny.qcow2", capacityBytes: 0 }).catch(() => null);
      await until(async () => (await again()) !== null, "the volume", 60_000);
      const { path } = await volume("cut", { image: "tiny.qcow2", capacityBytes: 0 });
      await qemuImage(join(host.poolRoot, "data"), "compare", path, join(host.host.imageDirectory, "tiny.qcow2"));
      expect(
        (await files()).filter((file) => file.startsWith("cut")),
        `SEED=${seed}`,
      ).toEqual(["cut.qcow2"]);
      await storage().deleteVolume({ pool: "data", name: "cut" }, soon());
    }
    // As a host leaves it that was switched off.
    const hostname = await host.virsh("hostname");
    await qemuImage(join(host.poolRoot, "data"), "create", "-f", "qcow2", "half.qcow2", "1M");
    await writeFile(join(host.poolRoot, "data", makingFile("half", hostname)), "");
    await qemuImage(join(host.poolRoot, "data"), "create", "-f", "qcow2", "far.qcow2", "1M");
    await writeFile(join(host.poolRoot, "data", makingFile("far", "another host")), "");
    expect((await storage().listVolumes("data", soon())).map(({ name }) => name)).toEqual(["empty", "notes.txt"]);
    await host.restartAgent();
    await until(async () => !(await files()).includes("half.qcow2"), "what is half made to go", 30_000);
    expect(await refusal(volume("far"))).toBe("UNAVAILABLE VolumeBusy");
    await storage().deleteVolume({ pool: "data", name: "far" }, soon());
  });

  test("a pool goes when it is empty, or with its volumes; its directory and what others put there stay", async () => {
    expect(await refusal(storage().deletePool("data", false, soon()))).toBe("FAILED_PRECONDITION PoolNotEmpty");
    await storage().deletePool("data", true, soon());
    await storage().deletePool("data", true, soon());
    expect(await files()).toEqual(["notes.txt"]);
    expect(await host.virsh("pool-list", "--all", "--name")).not.toContain("data");
    expect(await refusal(storage().listVolumes("data", soon()))).toBe("NOT_FOUND undefined");
  });
});
