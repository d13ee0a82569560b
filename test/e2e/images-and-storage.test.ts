import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ComputeFleet } from "../support/compute-fleet.ts";
import { openConsole, untilPrompt } from "../support/console-instances.ts";
import { type FleetHost, hostTruth, virsh } from "../support/fleet-host.ts";
import { ImageRegistry } from "../support/image-registry.ts";
import { ImageServer } from "../support/image-server.ts";
import { NetworkNamespace } from "../support/network-namespace.ts";
import { describeWithPeers } from "../support/peers.ts";
import { SlowProxy } from "../support/slow-proxy.ts";
import { GUEST_COMMAND_LINE, tinyGuest } from "../support/tiny-guest.ts";
import { until } from "../support/until.ts";

const MIB = 2 ** 20;
const PASSWORD = "a-pass-word-of-a-registry";
const PULL = "id status currentBytes totalBytes completed error { code reason } nodes { task { id state } }";
const BOOTABLE = { kernel: "tiny-kernel", initrd: "tiny-initrd", kernelArgs: GUEST_COMMAND_LINE, cpuCores: 1, memoryBytes: 128 * MIB };

interface Pull {
  id: string;
  status: string;
  currentBytes: number;
  totalBytes: number | null;
  completed: boolean;
  error: { code: string; reason: string | null } | null;
}

const portOf = (address: string) => address.split(":").at(-1);

describeWithPeers("images, volumes and snapshots", ["network-namespaces", "libvirt", "podman", "registry"], () => {
  let registry: ImageRegistry;
  let closed: ImageRegistry;
  let slow: SlowProxy;
  let server: ImageServer;
  let fleet: ComputeFleet;
  let host: FleetHost;

  beforeAll(async () => {
    const address = NetworkNamespace.hostAddressOf(0);
    registry = await ImageRegistry.start({ host: address, listen: "0.0.0.0" });
    closed = await ImageRegistry.start({ host: address, listen: "0.0.0.0", credentials: { username: "joe", password: PASSWORD } });
    slow = await SlowProxy.start("0.0.0.0", `127.0.0.1:${portOf(registry.address)}`);
    server = await ImageServer.start({ host: "0.0.0.0" });
    fleet = await ComputeFleet.start({
      hosts: [{ insecureRegistries: [registry, slow, closed].map((one) => `${address}:${portOf(one.address)}`) }],
      // Ten small guests at once.
      environment: { FLEETGRAPH_PLACEMENT_CPU_OVERCOMMIT: "8" },
      agentSettings: (at) => ({
        imageUrls: [`http://${address}:${portOf(server.url)}/`],
        poolRoots: [join(at.libvirt.directory, "pools")],
      }),
    });
    [host] = fleet.hosts as [FleetHost];
  }, 180_000);

  afterAll(async () => {
    await fleet?.stop();
    await Promise.all([slow, server, registry, closed].map((one) => one?.stop()));
  });

  /** As the host reaches what listens on this machine. */
  const seenByHost = (at: string) => `${host.host.namespace.hostAddress}:${portOf(at)}`;
  const change = async (name: string, input: Record<string, unknown>, selection: string) => {
    const type = `${name[0]?.toUpperCase()}${name.slice(1)}Input!`;
    return (await fleet.query(`mutation ($input: ${type}) { ${name}(input: $input) { ${selection} } }`, { input }))[name];
  };
  const pull = async (input: Record<string, unknown>): Promise<Pull> =>
    (await change("pullImage", { nodeIds: [host.nodeId], ...input }, `pull { ${PULL} }`)).pull;
  /** The frames of a pull until its end; `each` may act on them. */
  async function follow(id: string, each: (frame: Pull) => Promise<void> = async () => undefined): Promise<Pull[]> {
    const frames: Pull[] = [];
    for await (const { imagePull } of fleet.stream(`subscription ($id: ID!) { imagePull(id: $id) { ${PULL} } }`, { id })) {
      frames.push(imagePull as Pull);
      await each(imagePull as Pull);
    }
    return frames;
  }
  const images = async (name: string) => {
    const query =
      "query ($filter: ImageFilter) { images(filter: $filter) { nodes { id names type sizeBytes nodes { inUse node { hostname } } } unavailable { reason } } }";
    return (await fleet.query(query, { filter: { name } })).images;
  };
  async function taskEnd(id: string): Promise<{ state: string; error: unknown }> {
    let task = { state: "", error: null };
    await until(
      async () => {
        task = (await fleet.query("query ($id: ID!) { task(id: $id) { state error { code reason message } } }", { id })).task;
        return task.state !== "QUEUED" && task.state !== "RUNNING";
      },
      "the end of the task",
      120_000,
    );
    return task;
  }

  test("a container image's pull shows its progress live, is cancelled, and is pulled again", async () => {
    // What nothing makes smaller, so that it takes its time.
    const { podman } = host.host;
    await writeFile(join(fleet.directory, "noise"), randomBytes(8 * MIB));
    await podman.podman("create", "--name", "box", "--network", "none", "localhost/busybox");
    await podman.podman("cp", join(fleet.directory, "noise"), "box:/noise");
    await podman.podman("commit", "--quiet", "box", "localhost/noise:latest");
    await podman.podman("rm", "box");
    await registry.push(podman, "localhost/noise", "team/noise:v1");
    await podman.podman("rmi", "localhost/noise");
    const imageRef = `${seenByHost(slow.address)}/team/noise:v1`;

    slow.bytesPerSecond = 2 * MIB;
    const first = await pull({ imageRef });
    const frames = await follow(first.id, async ({ currentBytes, completed, status }) => {
      if (currentBytes > 0 && !completed && status !== "CANCELLED") await change("cancelImagePull", { pullId: first.id }, "pull { id }");
    });
    expect(frames.at(-1)).toMatchObject({ status: "CANCELLED", completed: false });
    await until(() => slow.connections === 0, "the engine to let go of the registry");
    expect((await images("team/noise")).nodes).toEqual([]);

    const second = await pull({ imageRef });
    const shown = await follow(second.id);
    expect(shown.at(-1)).toMatchObject({ status: "DONE", completed: true, error: null });
    const rising = shown
      .map(({ currentBytes }) => currentBytes)
      .filter((bytes, index, all) => index === 0 || bytes > (all[index - 1] ?? 0));
    expect(rising.length).toBeGreaterThan(2);
    expect((await images("team/noise")).nodes).toMatchObject([
      { type: "CONTAINER", nodes: [{ inUse: false, node: { hostname: host.hostname } }] },
    ]);
    // Who comes when it is over gets the end alone.
    expect(await follow(second.id)).toHaveLength(1);
    const { freedBytes } = await change("deleteImage", { image: imageRef }, "freedBytes nodes { deleted error { code } }");
    expect(freedBytes).toBeGreaterThan(8 * MIB);
  }, 120_000);

  test("a registry that wants an account gets the one that is kept, also for a new container", async () => {
    const image = await closed.push(host.host.podman, "localhost/busybox", "secret:v1");
    const imageRef = image;
    const refused = await pull({ imageRef });
    expect((await follow(refused.id)).at(-1)).toMatchObject({ status: "FAILED", error: { reason: "ImagePullUnauthorized" } });
    await change("setRegistryCredential", { registry: closed.address, username: "joe", password: PASSWORD }, "credential { username }");
    const spec = { image: imageRef, cpuCores: 1, memoryBytes: 64 * MIB, command: ["/bin/sleep", "600"], network: { networkId: "none" } };
    const { id } = await fleet.change("createInstance", { name: "secret", type: "CONTAINER", spec });
    await fleet.untilState(id, "RUNNING");
    const files = await readFile(join(fleet.directory, "control", "compute.db"));
    expect(files.includes(PASSWORD)).toBe(false);
    for (const part of ["up", host.hostname]) {
      expect(await readFile(join(fleet.directory, `${part}.log`), "utf8")).not.toContain(PASSWORD);
    }
    await fleet.change("deleteInstance", { instanceId: id, force: true });
    await fleet.untilState(id, "DELETED");
  }, 120_000);

  test("a VM image's pull goes on after its server was restarted half way; ten creations of an absent one make one download", async () => {
    const disk = await readFile((await tinyGuest()).bootDisk);
    const url = (path: string) => server.url.replace("0.0.0.0", host.host.namespace.hostAddress) + path;
    server.serve("/resumed.qcow2", disk, { chunkDelayMs: 20, headers: { etag: '"one"' } });
    const { id } = await pull({ imageRef: url("/resumed.qcow2"), name: "resumed", format: "QCOW2" });
    let restarted = false;
    const frames = await follow(id, async ({ currentBytes }) => {
      if (restarted || currentBytes < disk.length / 4) return;
      restarted = true;
      await server.restart();
      server.serve("/resumed.qcow2", disk, { headers: { etag: '"one"' } });
    });
    expect(restarted).toBe(true);
    expect(frames.at(-1)).toMatchObject({ status: "DONE" });
    const requests = server.requestsFor("/resumed.qcow2");
    expect(requests.at(-1)).toMatchObject({ status: 206, range: expect.stringMatching(/^bytes=\d+-$/) });

    server.serve("/shared.qcow2", disk, { chunkDelayMs: 5 });
    const spec = { ...BOOTABLE, image: url("/shared.qcow2"), disks: [{ name: "root", boot: true }], network: { networkId: "none" } };
    const made = await Promise.all(
      Array.from({ length: 10 }, (_, index) =>
        fleet.change("createInstance", {
          name: `one-of-ten-${index}`,
          type: "VM",
          spec: { ...spec, memoryBytes: 32 * MIB },
          stopped: true,
        }),
      ),
    );
    for (const instance of made) await fleet.untilState(instance.id, "STOPPED", 120_000);
    expect(server.requestsFor("/shared.qcow2").filter(({ method }) => method === "GET")).toHaveLength(1);
    // The same content under another name is the same image.
    const [image] = (await images("shared.qcow2")).nodes;
    expect(image.names).toEqual(expect.arrayContaining(["resumed"]));
    const inUse = await change("deleteImage", { image: "resumed" }, "nodes { deleted error { reason } }");
    expect(inUse.nodes).toEqual([{ deleted: false, error: { reason: "ImageInUse" } }]);
    await Promise.all(made.map((instance) => fleet.change("deleteInstance", { instanceId: instance.id })));
    for (const instance of made) await fleet.untilState(instance.id, "DELETED");
  }, 180_000);

  test("hostile images are refused with their reason, and nothing of them stays", async () => {
    const before = await virsh(host, "vol-list", "fleetgraph-images");
    const disk = await readFile((await tinyGuest()).bootDisk);
    const huge = join(fleet.directory, "huge.qcow2");
    await promisify(execFile)("qemu-img", ["create", "-q", "-f", "qcow2", huge, "16T"]);
    const backed = Buffer.from(disk);
    const name = "/etc/passwd";
    backed.writeBigUInt64BE(512n, 8);
    backed.writeUInt32BE(name.length, 16);
    backed.write(name, 512);
    const url = server.url.replace("0.0.0.0", host.host.namespace.hostAddress);
    const cases: Array<[string, Buffer, Record<string, unknown>, string]> = [
      ["/backed", backed, {}, "BackingFile"],
      ["/huge", await readFile(huge), {}, "TooLarge"],
      ["/short", disk.subarray(0, disk.length / 2), {}, "Malformed"],
      ["/other", disk, { checksum: `sha256:${"0".repeat(64)}` }, "Checksum"],
    ];
    for (const [path, content, more, reason] of cases) {
      server.serve(path, content);
      const { id } = await pull({ imageRef: `${url}${path}`, ...more });
      const last = (await follow(id)).at(-1);
      expect(last, path).toMatchObject({
        status: "FAILED",
        error: { code: "FAILED_PRECONDITION", reason: expect.stringContaining(reason) },
      });
    }
    expect(await virsh(host, "vol-list", "fleetgraph-images")).toBe(before);
  }, 120_000);

  test("a volume and an interface come and go while the guest runs; it goes back to a snapshot, and its memory to the disk", async () => {
    const { nodeId } = host;
    const path = join(host.host.libvirt.directory, "pools", "data");
    await change("createStoragePool", { nodeId, name: "data", kind: "DIR", path }, "pool { name active }");
    await change("createVolume", { nodeId, pool: "data", name: "db", capacityBytes: 16 * MIB }, "volume { path }");
    const spec = { ...BOOTABLE, disks: [{ name: "root", sizeBytes: 8 * MIB }], network: { networkId: "none" } };
    const { id: instanceId } = await fleet.change("createInstance", { name: "plugged", type: "VM", spec });
    await fleet.untilState(instanceId, "RUNNING");
    const asked = async (name: string, input: Record<string, unknown>) => {
      const { task } = await change(name, { instanceId, ...input }, "task { id }");
      expect(await taskEnd(task.id), name).toEqual({ state: "SUCCEEDED", error: null });
    };
    // A guest that is still booting does not let go of devices.
    const viewer = await openConsole(fleet, instanceId);
    await viewer.connect();
    await untilPrompt(viewer);
    const devices = async () => (await virsh(host, "domblklist", instanceId)) + (await virsh(host, "domiflist", instanceId));
    const { snapshotId, task } = await change("createSnapshot", { instanceId, name: "clean" }, "snapshotId task { id }");
    expect(await taskEnd(task.id)).toEqual({ state: "SUCCEEDED", error: null });

    await asked("attachNetworkInterface", { name: "second", network: { networkId: "default" } });
    await asked("attachVolume", { name: "db", pool: "data", volume: "db" });
    expect(await devices()).toContain(join(path, "db"));
    await viewer.type("echo serials-$(cat /sys/block/vd*/serial)\r");
    await viewer.shows("serials-rootdb");
    const { instance } = await fleet.query(
      "query ($id: ID!) { instance(id: $id) { spec { volumes { name pool volume } interfaces { name } } snapshots { nodes { id name } } } }",
      { id: instanceId },
    );
    expect(instance.spec).toEqual({ volumes: [{ name: "db", pool: "data", volume: "db" }], interfaces: [{ name: "second" }] });
    expect(instance.snapshots.nodes).toEqual([{ id: snapshotId, name: "clean" }]);
    const { node } = await fleet.query("query ($id: ID!) { node(id: $id) { storagePools { name volumes { name usedBy } } } }", {
      id: nodeId,
    });
    const pool = node.storagePools.find(({ name }: { name: string }) => name === "data");
    expect(pool.volumes).toEqual([{ name: "db", usedBy: [instanceId] }]);
    const busy = await fleet.ask("mutation ($input: DeleteVolumeInput!) { deleteVolume(input: $input) { name } }", {
      input: { nodeId, pool: "data", name: "db" },
    });
    expect(busy.errors?.[0]?.extensions).toMatchObject({ reason: "VolumeInUse" });

    await asked("detachVolume", { name: "db" });
    await asked("detachNetworkInterface", { name: "second" });
    expect(await devices()).not.toContain(join(path, "db"));
    await asked("revertSnapshot", { snapshotId });
    await fleet.untilState(instanceId, "RUNNING");
    await asked("deleteSnapshot", { snapshotId });

    await fleet.change("suspendInstance", { instanceId, toDisk: true });
    await fleet.untilState(instanceId, "SUSPENDED");
    expect(await virsh(host, "domstate", instanceId)).toContain("shut off");
    await fleet.change("resumeInstance", { instanceId });
    await fleet.untilState(instanceId, "RUNNING");
    await viewer.close();
    await fleet.change("deleteInstance", { instanceId, force: true });
    await fleet.untilState(instanceId, "DELETED");
    await change("deleteStoragePool", { nodeId, name: "data", withVolumes: true }, "name");
    expect(await hostTruth(host)).toEqual({ domains: [], containers: [], files: [], filters: [] });
  }, 180_000);
});
