import { mkdir, rename, symlink, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { ContainerDriver } from "../../../../agent/drivers/containers/container-driver.ts";
import { ContainerNotesFile } from "../../../../agent/drivers/containers/container-notes.ts";
import type { InstancePlan, NativeInstance } from "../../../../agent/drivers/instance-driver.ts";
import { InstanceType } from "../../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { ContainerHost, soon, untilState } from "../../../support/container-host.ts";
import { containerPlan } from "../../../support/container-plan.ts";
import { MIB } from "../../../support/instance-plans.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import { until } from "../../../support/until.ts";

const IGNORES_NOTHING = ["sh", "-c", "trap 'exit 3' TERM; while true; do sleep 0.05; done"];
const quiet = () => undefined;
const refused = (reason: string, message = "") => expect.objectContaining({ reason, message: expect.stringContaining(message) });
let ids = 0;

function planned(spec: Parameters<typeof containerPlan>[0] = {}, more: Partial<InstancePlan> = {}): InstancePlan {
  return containerPlan({ command: IGNORES_NOTHING, ...spec }, { instanceId: `inst-${String(++ids).padStart(16, "0")}`, ...more });
}

describeWithPeers("the container driver", ["network-namespaces", "podman"], () => {
  let host: ContainerHost;
  let driver: ContainerDriver;
  beforeAll(async () => {
    host = await ContainerHost.start(81);
    await mkdir(host.root);
    driver = await host.driver();
  });
  afterAll(() => host?.stop());
  afterEach(async () => {
    await host.podman.podman("rm", "--all", "--force", "--time", "0", "--volumes");
  });

  async function made(plan: InstancePlan): Promise<NativeInstance> {
    return await driver.create(plan, quiet, soon());
  }

  async function started(plan: InstancePlan): Promise<NativeInstance> {
    await made(plan);
    await driver.start(plan, soon());
    return await untilState(driver, plan, "RUNNING");
  }

  it("has tried that containers run here, and left nothing of the trial", async () => {
    const before = await host.podman.podman("images", "--all", "--quiet");
    const [support] = await driver.support(soon());
    expect(support).toEqual({
      type: InstanceType.CONTAINER,
      supported: true,
      reason: "",
      message: "",
      engine: expect.stringMatching(/^podman \d+\.\d+\.\d+, runc \d+\.\d+/),
    });
    expect(driver.available).toBe(true);
    expect(await host.leftovers()).toEqual([]);
    expect(await host.podman.podman("images", "--all", "--quiet")).toBe(before);
  });

  it("takes a container through its life, and tells each change", async () => {
    const plan = planned({ env: { GREETING: "hello world" } }, { name: "My Web", generation: 3, labels: { tier: "front" } });
    const changed = new Set<string>();
    const undo = driver.listen({ onChanged: (id) => changed.add(id), onAvailable: quiet });

    const created = await made(plan);
    expect(created).toMatchObject({
      name: plan.instanceId,
      mark: { instanceId: plan.instanceId, nodeId: "node-1", generation: 3 },
      state: "STOPPED",
      reason: "CREATED",
      startedAt: null,
      exitCode: null,
      cpuCores: 1,
      memoryBytes: 64 * MIB,
      ipAddresses: [],
    });
    await until(() => changed.has(created.nativeId), "the event of its making");

    changed.clear();
    await driver.start(plan, soon());
    expect(await driver.find(plan, soon())).toMatchObject({ state: "RUNNING", reason: "STARTED", startedAt: expect.any(Date) });
    await until(() => changed.has(created.nativeId), "the event of its start");
    const inside = 'echo "$(hostname), $GREETING, $(grep NoNewPrivs /proc/self/status | cut -f 2), $(tty < /proc/1/fd/0)"';
    expect(await host.exec(plan.instanceId, "sh", "-c", inside)).toBe("my-web, hello world, 1, /dev/pts/0");

    changed.clear();
    await driver.suspend({ nativeId: created.nativeId }, soon());
    await driver.suspend(plan, soon());
    expect(await driver.find(plan, soon())).toMatchObject({ state: "PAUSED" });
    expect(await host.podman.podman("inspect", "--format", "{{.State.Status}}", plan.instanceId)).toBe("paused\n");
    await expect(driver.start(plan, soon())).rejects.toThrow(refused("InstanceSuspended"));
    await driver.resume(plan, soon());
    await driver.resume(plan, soon());
    expect(await driver.find(plan, soon())).toMatchObject({ state: "RUNNING" });
    await until(() => changed.has(created.nativeId), "the event of its pause");

    changed.clear();
    await driver.requestStop(plan, soon());
    expect(await untilState(driver, plan, "STOPPED")).toMatchObject({ reason: "REQUESTED", exitCode: 3 });
    await until(() => changed.has(created.nativeId), "the event of its end");
    await driver.requestStop(plan, soon());
    await driver.kill(plan, soon());
    await expect(driver.suspend(plan, soon())).rejects.toThrow(refused("InstanceNotRunning"));

    await driver.start(plan, soon());
    await driver.start(plan, soon());
    await driver.kill(plan, soon());
    expect(await untilState(driver, plan, "STOPPED")).toMatchObject({ reason: "DESTROYED", exitCode: 137 });

    changed.clear();
    await driver.remove(plan, soon());
    expect(await driver.find(plan, soon())).toBeNull();
    await until(() => changed.has(created.nativeId), "the event of its removal");
    await driver.remove(plan, soon());
    await expect(driver.start(plan, soon())).rejects.toThrow(refused("InstanceMissing"));
    undo();
    expect(await host.leftovers()).toEqual([]);
  });

  it("removes what runs, also what is frozen", async () => {
    const plan = planned({ command: ["sh", "-c", "trap '' TERM; sleep 1000"] });
    await started(plan);
    await driver.suspend(plan, soon());
    await driver.remove(plan, soon());
    expect(await host.leftovers()).toEqual([]);
  });

  it("stops what is frozen: it goes on, to hear the signal", async () => {
    const plan = planned();
    await started(plan);
    await driver.suspend(plan, soon());
    await driver.requestStop(plan, soon());
    expect(await untilState(driver, plan, "STOPPED")).toMatchObject({ reason: "REQUESTED", exitCode: 3 });
  });

  it("makes one container, however often it is asked, and none in the place of another", async () => {
    const plan = planned();
    const first = await made(plan);
    expect(await made(plan)).toMatchObject({ nativeId: first.nativeId });
    await expect(made({ ...plan, generation: 2 })).rejects.toThrow(refused("NameTaken", "generation 1"));
    const others = planned();
    await host.podman.podman("create", "--name", others.instanceId, "--network", "none", "localhost/busybox");
    await expect(made(others)).rejects.toThrow(refused("NameTaken", "that others made"));
    await expect(driver.remove(others, soon())).resolves.toBeUndefined();
    expect((await host.leftovers()).sort()).toEqual([plan.instanceId, others.instanceId].sort());
  });

  it("runs command and args in the place of the image's entrypoint and command", async () => {
    const show = ["sh", "-c", 'for word in "$@"; do echo "[$word]"; done', "-"];
    const cases = [
      { spec: { command: show, args: ["a b", ""] }, says: ["[a b]", "[]"] },
      { spec: { command: [...show, "x"], args: [] }, says: ["[x]"] },
      { spec: { command: [], args: ["echo", "from args"] }, says: ["from args"] },
    ];
    for (const { spec, says } of cases) {
      const plan = planned(spec);
      await made(plan);
      await driver.start(plan, soon());
      expect(await untilState(driver, plan, "STOPPED")).toMatchObject({ reason: "EXITED", exitCode: 0 });
      expect((await host.podman.podman("logs", plan.instanceId)).split(/\r?\n/).filter(Boolean)).toEqual(says);
    }
  });

  it("says why a command ended, or never began", async () => {
    const failing = planned({ command: ["sh", "-c", "exit 7"] });
    await made(failing);
    await driver.start(failing, soon());
    expect(await untilState(driver, failing, "FAILED")).toMatchObject({ reason: "EXITED", exitCode: 7 });

    const absent = planned({ command: ["/no/such/program"] });
    await made(absent);
    await expect(driver.start(absent, soon())).rejects.toThrow(refused("FailedToStart", "/no/such/program"));
    expect(await driver.find(absent, soon())).toMatchObject({
      state: "FAILED",
      reason: "FAILED_TO_START",
      message: expect.stringContaining("no such file"),
      exitCode: null,
    });
  });

  it("tells one that was stopped by others' hands from one that failed", async () => {
    const plan = planned({ command: ["sleep", "1000"] });
    await started(plan);
    await host.podman.podman("stop", "--time", "0", plan.instanceId);
    expect(await untilState(driver, plan, "STOPPED")).toMatchObject({ reason: "DESTROYED", exitCode: 137 });
    await host.podman.podman("start", plan.instanceId);
    expect(await untilState(driver, plan, "RUNNING")).toMatchObject({ reason: "STARTED" });
  });

  it("knows one that ran out of memory, and nothing else of it did", async () => {
    const plan = planned({ command: ["sh", "-c", "sleep 0.2; exec tail /dev/zero"], memoryBytes: 16 * MIB });
    await made(plan);
    await driver.start(plan, soon());
    expect(await untilState(driver, plan, "FAILED")).toMatchObject({
      reason: "OUT_OF_MEMORY",
      exitCode: 137,
      message: expect.stringContaining("16 MiB"),
    });
  });

  it("refuses what a container cannot have before anything is made", async () => {
    const cases: Array<[string, string, Parameters<typeof containerPlan>[0]]> = [
      ["DisksUnsupported", "spec.disks", { disks: [{ name: "root", sizeBytes: 1 }] }],
      ["ImageReferenceInvalid", "spec.image", { image: "https://example.org/x.qcow2" }],
      ["TooManyCpus", "spec.cpuCores", { cpuCores: 1000 }],
      ["LimitAboveSize", "spec.limits.memoryLimit", { limits: { memoryLimit: 65 * MIB } }],
      ["MountNotAllowed", "spec.volumeMounts[1].name", { volumeMounts: [mount("data", "/data"), mount("/etc", "/x")] }],
      ["NetworkNotFound", "spec.network.networkId", { network: { networkId: "nothing" } }],
      ["NetworkUnsupported", "spec.network.networkId", { network: { networkId: "host" } }],
      ["NetworkInvalid", "spec.network.networkId", { network: { networkId: "container:other" } }],
      ["SubnetNotFound", "spec.network.subnetId", { network: { networkId: "default", subnetId: "192.0.2.0/24" } }],
    ];
    for (const [reason, field, spec] of cases) {
      await expect(made(planned(spec)), reason).rejects.toThrow(
        expect.objectContaining({ reason, details: expect.objectContaining({ field }) }),
      );
    }
    expect(await host.leftovers()).toEqual([]);
  });

  describe("what it may use", () => {
    /** As the kernel has it, on cgroup v1 or v2. */
    async function limit(id: string, v1: string, v2: string): Promise<string> {
      return await host.exec(id, "sh", "-c", `cat /sys/fs/cgroup/${v2} 2>/dev/null || cat /sys/fs/cgroup/${v1}`);
    }
    const memory = (id: string) => limit(id, "memory/memory.limit_in_bytes", "memory.max");
    const quota = async (id: string) => Number((await limit(id, "cpu/cpu.cfs_quota_us", "cpu.max")).split(" ")[0]);

    it("is what the size and its limits say", async () => {
      const plan = planned({
        limits: { cpuQuota: 25_000, cpuPeriod: 50_000, memoryLimit: 32 * MIB, ioReadBps: 1_000_000, ioWriteBps: 2_000_000 },
      });
      expect(await started(plan)).toMatchObject({ cpuCores: 0.5, memoryBytes: 32 * MIB });
      expect([await memory(plan.instanceId), await quota(plan.instanceId)]).toEqual([String(32 * MIB), 25_000]);
      expect(await limit(plan.instanceId, "blkio/blkio.throttle.read_bps_device", "io.max")).toContain("1000000");
      expect(await limit(plan.instanceId, "blkio/blkio.throttle.write_bps_device", "io.max")).toContain("2000000");
      expect(await limit(plan.instanceId, "pids/pids.max", "pids.max")).toBe("4096");
    });

    it("changes while it runs, and stays changed when it starts again", async () => {
      const plan = planned();
      await started(plan);
      const bigger = { ...plan, spec: { ...plan.spec, cpuCores: 2, memoryBytes: 128 * MIB } };
      await driver.resize(bigger, soon());
      expect([await memory(plan.instanceId), await quota(plan.instanceId)]).toEqual([String(128 * MIB), 200_000]);
      expect(await driver.find(plan, soon())).toMatchObject({ cpuCores: 2, memoryBytes: 128 * MIB });
      await driver.kill(plan, soon());
      await untilState(driver, plan, "STOPPED");
      // podman itself has forgotten it, and so has an agent that was started again.
      const again = await host.driver();
      await again.start(plan, soon());
      expect([await memory(plan.instanceId), await quota(plan.instanceId)]).toEqual([String(128 * MIB), 200_000]);
      expect(await again.find(plan, soon())).toMatchObject({ cpuCores: 2, memoryBytes: 128 * MIB });
      await again.close();
    });

    it("changes while it is stopped", async () => {
      const plan = planned();
      await made(plan);
      await driver.resize({ ...plan, spec: { ...plan.spec, memoryBytes: 96 * MIB } }, soon());
      await driver.start(plan, soon());
      expect(await memory(plan.instanceId)).toBe(String(96 * MIB));
    });

    it("is measured in one call for all", async () => {
      const busy = planned({ command: ["sh", "-c", "while true; do :; done"] });
      const writing = planned({ command: ["sh", "-c", "dd if=/dev/zero of=/x bs=1M count=8 conv=fsync; sleep 1000"] });
      const stopped = planned();
      const natives = [await started(busy), await started(writing), await made(stopped)];
      const read = async () =>
        new Map(
          (
            await driver.sample(
              natives.map(({ nativeId }) => nativeId),
              soon(),
            )
          ).map((one) => [one.nativeId, one]),
        );
      const [first, second] = natives.map(({ nativeId }) => nativeId) as [string, string];
      const before = await read();
      expect([...before.keys()].sort()).toEqual([first, second].sort());
      await until(
        async () => (await read()).get(first)!.cpuTimeNs > before.get(first)!.cpuTimeNs + 100_000_000,
        "a tenth of a second of its CPU",
      );
      await until(async () => (await read()).get(second)!.diskWriteBytes >= 8 * MIB, "its writing");
      expect(before.get(first)).toMatchObject({ cpuCores: 1, networkRxBytes: 0 });
      expect(before.get(first)!.memoryUsageBytes).toBeGreaterThan(0);
    });
  });

  describe("what it mounts", () => {
    it("is there: directories of the host and volumes of its own, which last until it is removed", async () => {
      await mkdir(join(host.root, "web"), { recursive: true });
      await writeFile(join(host.root, "web/page"), "from the host");
      const plan = planned({ volumeMounts: [{ ...mount(join(host.root, "web"), "/srv"), readOnly: true }, mount("data", "/data")] });
      await started(plan);
      expect(await host.exec(plan.instanceId, "cat", "/srv/page")).toBe("from the host");
      await expect(host.exec(plan.instanceId, "touch", "/srv/x")).rejects.toThrow("Read-only file system");
      await host.exec(plan.instanceId, "touch", "/data/kept");
      await driver.kill(plan, soon());
      await untilState(driver, plan, "STOPPED");
      await driver.start(plan, soon());
      expect(await host.exec(plan.instanceId, "ls", "/data")).toBe("kept");
      expect(await host.leftovers()).toEqual([plan.instanceId, `${plan.instanceId}.data`]);
      await driver.remove(plan, soon());
      expect(await host.leftovers()).toEqual([]);
    });

    it("is looked at before each start: a directory that has become a link out is not mounted", async () => {
      await mkdir(join(host.root, "a/b"), { recursive: true });
      await mkdir(join(host.directory, "secret/b"), { recursive: true });
      const plan = planned({ volumeMounts: [mount(join(host.root, "a/b"), "/srv")] });
      await made(plan);
      await rename(join(host.root, "a"), join(host.root, "moved"));
      await symlink(join(host.directory, "secret"), join(host.root, "a"));
      await expect(driver.start(plan, soon())).rejects.toThrow(refused("MountNotAllowed", "has become a link"));
      expect(await driver.find(plan, soon())).toMatchObject({ state: "STOPPED" });
    });

    it("goes when it is removed, also after somebody else removed its container", async () => {
      const plan = planned({ volumeMounts: [mount("data", "/data")] });
      await made(plan);
      await host.podman.podman("rm", plan.instanceId);
      expect(await host.leftovers()).toEqual([`${plan.instanceId}.data`]);
      await driver.remove(plan, soon());
      expect(await host.leftovers()).toEqual([]);
    });
  });

  describe("what others made", () => {
    const others = (name: string, ...options: string[]) =>
      host.podman.podman("run", "--detach", "--name", name, "--network", "none", ...options, "localhost/busybox");
    const named = async (name: string, of = driver) => (await of.list(soon())).find((native) => native.name === name)!;

    it("is listed, and not touched", async () => {
      await others("cache", "--memory", "32m", "--cpus", "0.5");
      const found = await named("cache");
      expect(found).toMatchObject({ mark: null, type: InstanceType.CONTAINER, state: "RUNNING", cpuCores: 0.5, memoryBytes: 32 * MIB });
      const { nativeId } = found;
      for (const change of ["start", "requestStop", "kill", "suspend", "resume", "remove"] as const) {
        await expect(driver[change]({ nativeId }, soon()), change).rejects.toThrow(refused("InstanceUnmanaged"));
      }
      expect(await named("cache")).toEqual(found);
    });

    it("is the agent's once it is adopted, over the agent's own restarts, until it is removed", async () => {
      await others("database");
      const { nativeId } = await named("database");
      const mark = { instanceId: "inst-00000000000adopt", nodeId: "node-1", generation: 4 };
      await driver.adopt(nativeId, mark, soon());
      await driver.adopt(nativeId, mark, soon());
      expect(await named("database")).toMatchObject({ nativeId, mark, state: "RUNNING", cpuCores: 0, memoryBytes: 0 });
      expect(await driver.sample([nativeId], soon())).toMatchObject([{ cpuCores: availableParallelism() }]);
      expect(await named("database", await host.driver({}, "of-another-agent"))).toMatchObject({ mark: null });

      const again = await host.driver();
      expect(await again.find(mark, soon())).toMatchObject({ nativeId, mark });
      await again.requestStop(mark, soon());
      await untilState(again, mark, "STOPPED");
      await again.start(mark, soon());
      await again.remove(mark, soon());
      expect(await again.find(mark, soon())).toBeNull();
      expect(await host.leftovers()).toEqual([]);
      expect((await ContainerNotesFile.open(join(host.directory, "notes.json"))).all.has(nativeId)).toBe(false);
    });

    it("is not adopted where its engine would start or remove it by itself", async () => {
      await others("phoenix", "--restart", "always");
      await others("mayfly", "--rm");
      const adopt = async (name: string) =>
        driver.adopt((await named(name)).nativeId, { instanceId: "inst-1", nodeId: "node-1", generation: 1 }, soon());
      await expect(adopt("phoenix")).rejects.toThrow(refused("RestartPolicyKept", "--restart=always"));
      await expect(adopt("mayfly")).rejects.toThrow(refused("RemovedWhenStopped"));
      expect((await named("phoenix")).mark).toBeNull();
      await expect(driver.adopt("0".repeat(64), { instanceId: "inst-1", nodeId: "", generation: 1 }, soon())).rejects.toThrow(
        refused("InstanceMissing"),
      );
    });

    it("is not taken for the agent's because it was made from an image of one of its containers", async () => {
      const plan = planned();
      await made(plan);
      await host.podman.podman("commit", "--quiet", plan.instanceId, "localhost/copy");
      await host.podman.podman("create", "--name", "copy", "--network", "none", "localhost/copy");
      expect(await host.podman.podman("inspect", "--format", '{{index .Config.Labels "fleetgraph.instance"}}', "copy")).toBe(
        `${plan.instanceId}\n`,
      );
      expect((await named("copy")).mark).toBeNull();
      expect((await named(plan.instanceId)).mark).toMatchObject({ instanceId: plan.instanceId });
      await driver.remove(plan, soon());
      expect(await host.leftovers()).toEqual(["copy"]);
      await host.podman.podman("rmi", "--force", "localhost/copy");
    });
  });

  describe("its network", () => {
    it("is the engine's default one, with an address there, while it runs", async () => {
      const plan = planned({ network: { networkId: "default", subnetId: "10.88.0.0/16" } });
      expect((await started(plan)).ipAddresses).toEqual([expect.stringMatching(/^10\.88\./)]);
      const [sample] = await driver.sample([(await driver.find(plan, soon()))!.nativeId], soon());
      await host.exec(plan.instanceId, "ping", "-c", "3", "-s", "1000", "10.88.0.1");
      const [after] = await driver.sample([sample!.nativeId], soon());
      expect(after!.networkTxBytes - sample!.networkTxBytes).toBeGreaterThan(3000);
      expect(after!.networkRxBytes - sample!.networkRxBytes).toBeGreaterThan(3000);
      await driver.kill(plan, soon());
      expect((await untilState(driver, plan, "STOPPED")).ipAddresses).toEqual([]);
    });

    it("is one by name, whose subnet is the one that was asked for", async () => {
      await host.podman.podman("network", "create", "--subnet", "10.99.7.0/24", "backend");
      const on = (subnetId: string) => planned({ network: { networkId: "backend", subnetId } });
      const plan = on("10.99.7.0/24");
      expect((await started(plan)).ipAddresses).toEqual([expect.stringMatching(/^10\.99\.7\./)]);
      await expect(made(on("10.99.8.0/24"))).rejects.toThrow(refused("SubnetNotFound", "10.99.7.0/24"));
      await expect(made(planned({ network: { networkId: "other" } }))).rejects.toThrow(refused("NetworkNotFound", "backend"));
      await driver.remove(plan, soon());
      await host.podman.podman("network", "rm", "backend");
    });
  });
});

function mount(name: string, mountPath: string) {
  return { name, mountPath, readOnly: false };
}
