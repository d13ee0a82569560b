import { execFile } from "node:child_process";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { InstancePlan } from "../../../../agent/drivers/instance-driver.ts";
import { BootProbe } from "../../../../agent/drivers/libvirt/boot-probe.ts";
import { readCapabilities } from "../../../../agent/drivers/libvirt/capabilities.ts";
import { readMarkNotes } from "../../../../agent/drivers/libvirt/domain-mark.ts";
import { parseSecurityGroups } from "../../../../agent/drivers/libvirt/security-group-rules.ts";
import { element, parseXml, text } from "../../../../agent/drivers/libvirt/xml.ts";
import { createLogger } from "../../../../platform/observability/log.ts";
import { Firmware, InstanceType } from "../../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { DriverHost, soon } from "../../../support/driver-host.ts";
import { inCampaigns } from "../../../support/in-campaigns.ts";
import { instancePlan, MIB, randomText } from "../../../support/instance-plans.ts";
import { NetworkNamespace } from "../../../support/network-namespace.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import { seededRandom, seedOfRun } from "../../../support/random.ts";
import { GUEST_COMMAND_LINE } from "../../../support/tiny-guest.ts";
import { until } from "../../../support/until.ts";

const run = promisify(execFile);
const KERNEL = { kernel: "tiny-kernel", initrd: "tiny-initrd", kernelArgs: GUEST_COMMAND_LINE };
const GROUPS = parseSecurityGroups({
  web: [{ protocol: "tcp", ports: "80" }, { protocol: "icmp" }],
  ssh: [{ protocol: "tcp", ports: "22" }],
});
const quiet = () => undefined;
let ids = 0;

function planned(spec: Parameters<typeof instancePlan>[0], more: Partial<InstancePlan> = {}): InstancePlan {
  return instancePlan(spec, { instanceId: `inst-${String(++ids).padStart(16, "0")}`, ...more });
}

/** What a neighbour on the default network gets: an answer, if only a refusal, or nothing. */
async function reachable(host: DriverHost, address: string): Promise<Record<string, unknown>> {
  const neighbour = await NetworkNamespace.create(71);
  try {
    const bridge = /Bridge: +(\S+)/.exec(await host.virsh("net-info", "default"))?.[1] ?? "";
    await host.run("ip", "link", "add", "toguest", "type", "veth", "peer", "name", "guests", "netns", neighbour.name);
    await host.run("ip", "link", "set", "toguest", "master", bridge, "up");
    const ip = (...args: string[]) => run("ip", ["-n", neighbour.name, ...args]);
    await ip("addr", "add", `${address.replace(/\d+$/, "1")}99/24`, "dev", "guests");
    await ip("link", "set", "guests", "up");
    const there = async (command: string) => {
      const [program = "", ...args] = [...neighbour.prefix, "bash", "-c", `${command} 2>&1 || true`];
      return (await run(program, args)).stdout;
    };
    // The bridge learns for a while.
    await until(async () => (await there(`busybox ping -c 1 -W 1 ${address}`)).includes("1 packets received"), "an answer to ping", 20_000);
    const connect = async (port: number) =>
      (await there(`timeout 1 bash -c '</dev/tcp/${address}/${port}'`)).includes("refused") ? "refused" : "silent";
    return { ping: true, 80: await connect(80), 81: await connect(81) };
  } finally {
    await neighbour.remove();
  }
}

describeWithPeers("the libvirt driver", ["network-namespaces", "libvirt", "tiny-guest"], () => {
  let host: DriverHost;
  beforeAll(async () => {
    host = await DriverHost.start(70, { securityGroups: GROUPS });
    // As on a machine that is a guest of libvirt itself: its own address is where the default network usually is.
    await host.run("ip", "addr", "add", "192.168.122.55/24", "dev", "eth0");
  }, 120_000);
  afterAll(async () => await host?.[Symbol.asyncDispose](), 60_000);

  async function made(plan: InstancePlan): Promise<InstancePlan> {
    await host.driver.create(plan, quiet, soon());
    return plan;
  }

  async function removed(plan: InstancePlan): Promise<void> {
    await host.driver.remove({ instanceId: plan.instanceId }, soon());
    expect((await host.traces()).filter((trace) => trace.includes(plan.instanceId))).toEqual([]);
  }

  inCampaigns("says what virsh says of libvirt, the hypervisor and the host, and what boots guests once it was tried", async () => {
    await host.driver.support(soon());
    const said = await host.virsh("version");
    const capabilities = readCapabilities(await host.virsh("capabilities"));
    expect(await host.driver.libvirtFacts(soon())).toEqual({
      hostUuid: capabilities.hostUuid,
      hypervisor: "QEMU",
      hypervisorVersion: /Running hypervisor: QEMU (\S+)/.exec(said)?.[1],
      libvirtVersion: /Using library: libvirt (\S+)/.exec(said)?.[1],
      virtualization: expect.stringMatching(/^(kvm|qemu)$/),
    });
  });

  test("says what runs here, with an accelerator that a guest was booted under", async () => {
    const support = await host.driver.support(soon());
    expect(support.map(({ type, supported }) => [type, supported])).toEqual([
      [InstanceType.VM, true],
      [InstanceType.MICROVM, true],
    ]);
    const capabilities = readCapabilities((await host.client.call("connectGetCapabilities", {})).capabilities);
    const probe = new BootProbe({ client: host.client, log: createLogger({ name: "test", level: "silent" }) });
    const target = { host: capabilities, guest: capabilities.guest!, versions: "", machine: "q35" };
    expect(await probe.boots("qemu", target, soon())).toEqual({ works: true });
    const kept = JSON.parse(await readFile(host.probeFile, "utf8").catch(() => '{"works":false}')) as { works: boolean };
    expect(support[0]?.engine).toMatch(new RegExp(`^libvirt [0-9.]+, QEMU [0-9.]+, ${kept.works ? "kvm" : "tcg"}$`));
    expect(await host.traces()).toEqual([]);
  });

  inCampaigns("believes what was found out before on this host, and tries again where it is another one", async () => {
    const found = (await host.driver.support(soon()))[0]?.engine;
    const kept = await readFile(host.probeFile, "utf8").catch(() => null);
    // Without /dev/kvm there is nothing to find out.
    if (kept === null) return expect(found).toContain("tcg");
    const supportAfter = async (record: object) => {
      await writeFile(host.probeFile, JSON.stringify(record));
      await host.restartAgent();
      return (await host.driver.support(soon()))[0]?.engine;
    };
    const record = JSON.parse(kept) as { key: string; works: boolean; at: number };
    const other = record.works ? "tcg" : "kvm";
    expect(await supportAfter({ ...record, works: !record.works, at: Date.now() })).toMatch(new RegExp(`${other}$`));
    expect(await supportAfter({ ...record, works: !record.works, key: "another" })).toBe(found);
    expect(JSON.parse(await readFile(host.probeFile, "utf8"))).toMatchObject({ key: record.key, works: record.works });
  });

  inCampaigns("a VM lives: made, started, addressed, counted, suspended, stopped, resized, killed, removed", async () => {
    const disks = [
      { name: "root", boot: true },
      { name: "data", sizeBytes: 8 * MIB },
    ];
    const plan = await made(planned({ image: "tiny.qcow2", disks, network: { securityGroups: ["web"] } }));
    const ref = { instanceId: plan.instanceId };
    expect(await host.find(plan)).toMatchObject({
      name: plan.instanceId,
      state: "STOPPED",
      cpuCores: 1,
      memoryBytes: 128 * MIB,
      mark: { generation: 1 },
    });
    expect(await host.driver.sample([(await host.find(plan))!.nativeId], soon())).toEqual([]);
    const again = await host.driver.create(plan, quiet, soon());
    expect(again.nativeId).toBe((await host.find(plan))!.nativeId);

    await host.driver.start(ref, soon());
    await host.toldOf(plan, "RUNNING STARTED");
    await host.driver.start(ref, soon());
    // The usual default is taken on this host.
    expect(await host.address(plan)).toMatch(/^192\.168\.123\.\d+$/);
    expect(await reachable(host, await host.address(plan))).toEqual({ ping: true, 80: "refused", 81: "silent" });
    const first = (await host.driver.sample([again.nativeId], soon()))[0]!;
    expect(first).toMatchObject({ cpuCores: 1, networkRxBytes: expect.any(Number) });
    expect(first.diskReadBytes).toBeGreaterThan(MIB);
    expect(first.memoryUsageBytes).toBeGreaterThan(MIB);
    await until(async () => ((await host.driver.sample([again.nativeId], soon()))[0]?.cpuTimeNs ?? 0) > first.cpuTimeNs, "CPU time");

    await host.driver.suspend(ref, soon());
    await host.driver.suspend(ref, soon());
    await host.toldOf(plan, "PAUSED REQUESTED");
    await host.driver.resume(ref, soon());
    await host.driver.resume(ref, soon());
    await host.toldOf(plan, "RUNNING RESUMED");
    await expect(host.driver.resize(plan, soon())).rejects.toMatchObject({ code: "FAILED_PRECONDITION", reason: "InstanceRunning" });

    await host.driver.requestStop(ref, soon());
    await host.toldOf(plan, "STOPPED REQUESTED");
    expect(await host.find(plan)).toMatchObject({ ipAddresses: [], startedAt: null });
    await expect(host.driver.suspend(ref, soon())).rejects.toMatchObject({ reason: "InstanceNotRunning" });

    const larger = { ...plan, spec: { ...plan.spec, cpuCores: 2, memoryBytes: 160 * MIB } };
    larger.spec.disks = larger.spec.disks.map((disk) => (disk.name === "data" ? { ...disk, sizeBytes: 16 * MIB } : disk));
    await host.driver.resize(larger, soon());
    expect(await host.find(plan)).toMatchObject({ cpuCores: 2, memoryBytes: 160 * MIB });
    await expect(host.driver.resize(plan, soon())).rejects.toMatchObject({ reason: "DiskShrink" });

    await host.driver.start(ref, soon());
    await host.driver.kill(ref, soon());
    await host.driver.kill(ref, soon());
    expect(await host.find(plan)).toMatchObject({ state: "STOPPED", reason: "REQUESTED" });
    await removed(plan);
    await host.driver.remove(ref, soon());
    expect(await host.traces()).toEqual([]);
  });

  test("a microVM that crashes or switches itself off says so, also after the agent was started again", async () => {
    const plan = await made(planned({ ...KERNEL, memoryBytes: 96 * MIB }, { type: InstanceType.MICROVM }));
    const ref = { instanceId: plan.instanceId };
    await host.driver.start(ref, soon());
    const { nativeId, startedAt } = (await host.find(plan))!;
    const pid = Number(await readFile(join(host.host.libvirt.directory, `run/qemu/${plan.instanceId}.pid`), "utf8"));
    process.kill(pid, "SIGKILL");
    await host.toldOf(plan, "FAILED CRASHED");
    await host.restartAgent();
    expect(await host.find(plan)).toMatchObject({ nativeId, state: "FAILED", reason: "CRASHED", startedAt: null });

    await host.driver.start(ref, soon());
    await using console = await host.client.openStream("domainOpenConsole", { dom: { name: plan.instanceId, uuid: nativeId } });
    let said = "";
    for await (const data of console) {
      said += Buffer.from(data).toString();
      if (said.includes("guest# ")) break;
    }
    const before = (await host.find(plan))!;
    expect(before.startedAt!.getTime()).toBeGreaterThan(startedAt!.getTime());
    await host.restartAgent();
    const after = (await host.find(plan))!;
    expect(after).toMatchObject({ state: "RUNNING", type: InstanceType.MICROVM, mark: before.mark });
    expect(Math.abs(after.startedAt!.getTime() - before.startedAt!.getTime())).toBeLessThan(5000);
    await host.virsh("shutdown", plan.instanceId, "--mode", "acpi");
    await host.toldOf(plan, "STOPPED GUEST_SHUTDOWN");
    await removed(plan);
  });

  inCampaigns("a guest whose disk has no room left on the host stands still with the reason, and is removed all the same", async () => {
    const spec = { ...KERNEL, kernelArgs: `${GUEST_COMMAND_LINE} guest.busy=60`, memoryBytes: 96 * MIB };
    const plan = await made(
      planned({ ...spec, disks: [{ name: "data", type: "ssd", sizeBytes: 64 * MIB }] }, { type: InstanceType.MICROVM }),
    );
    await host.driver.start({ instanceId: plan.instanceId }, soon());
    await host.toldOf(plan, "FAILED IO_ERROR");
    expect((await host.find(plan))?.message).toContain("no space left");
    await removed(plan);
  });

  test("what users write reaches libvirt and comes back unchanged", async () => {
    const seed = seedOfRun();
    const random = seededRandom(seed);
    for (let round = 0; round < 10; round++) {
      const notes = {
        name: randomText(random),
        labels: { [randomText(random)]: randomText(random) },
        annotations: { a: "\u0001\ufffe\ud800" },
      };
      const kernelArgs = randomText(random).replaceAll("\n", "");
      const env = { [randomText(random)]: randomText(random) };
      const plan = await made(planned({ ...KERNEL, kernelArgs, env }, notes));
      const xml = await host.virsh("dumpxml", plan.instanceId);
      const domain = parseXml(xml, "domain");
      expect(readMarkNotes(element(domain, "metadata")), `SEED=${seed}`).toEqual({ ...notes, env });
      expect(text(element(domain, "os", "cmdline")), `SEED=${seed}`).toBe(kernelArgs);
      await removed(plan);
    }
  });

  test("what this host has not got is refused by its name, and nothing is left of it", async () => {
    const refusal = async (spec: Parameters<typeof instancePlan>[0]) => {
      const error = await host.driver.create(planned({ ...KERNEL, ...spec }), quiet, soon()).catch((thrown: unknown) => thrown);
      const { reason, details } = error as { reason: string; details: { field: string } };
      return `${reason} ${details.field}`;
    };
    expect(await refusal({ network: { networkId: "nowhere" } })).toBe("NetworkNotFound spec.network.networkId");
    expect(await refusal({ network: { subnetId: "10.0.0.0/8" } })).toBe("SubnetNotFound spec.network.subnetId");
    expect(await refusal({ network: { assignPublicIp: true } })).toBe("NoPublicNetwork spec.network.assignPublicIp");
    expect(await refusal({ network: { securityGroups: ["web", "db"] } })).toBe("SecurityGroupNotFound spec.network.securityGroups");
    expect(await refusal({ network: { networkId: "none", securityGroups: ["web"] } })).toBe(
      "SecurityGroupsUnsupported spec.network.securityGroups",
    );
    expect(await refusal({ command: ["sh"] })).toBe("CommandUnsupported spec.command");
    expect(await host.traces()).toEqual([]);
    const plan = await made(planned({ ...KERNEL, network: { subnetId: "192.168.123.0/24" } }));
    await removed(plan);
    const nowhere = await made(planned({ ...KERNEL, network: { networkId: "none" } }));
    expect(await host.virsh("domiflist", nowhere.instanceId)).toBe("");
    await removed(nowhere);
  });

  test("a public address is a second interface, on a network that is started when it is needed", async () => {
    host.options.publicNetwork = "public";
    await host.restartAgent();
    const plan = planned({ ...KERNEL, network: { assignPublicIp: true } });
    await expect(host.driver.create(plan, quiet, soon())).rejects.toMatchObject({ reason: "NetworkNotFound" });
    const xml =
      "<network><name>public</name><ip address='10.77.0.1' prefix='24'><dhcp><range start='10.77.0.2' end='10.77.0.9'/></dhcp></ip></network>";
    await host.virsh("net-define", await host.host.libvirt.writeFile("public.xml", xml));
    await made(plan);
    expect((await host.virsh("domiflist", plan.instanceId)).match(/default|public/g)).toEqual(["default", "public"]);
    await host.driver.start({ instanceId: plan.instanceId }, soon());
    expect(await host.virsh("net-list", "--name")).toContain("public");
    await removed(plan);
  });

  test("UEFI is there, and its variables go with the instance; or it is refused by its name", async () => {
    const plan = planned({ ...KERNEL, firmware: Firmware.UEFI });
    const refusal = await host.driver.create(plan, quiet, soon()).then(
      () => null,
      (error: { reason: string }) => error.reason,
    );
    expect([null, "FirmwareMissing"]).toContain(refusal);
    if (refusal !== null) return;
    await host.driver.start({ instanceId: plan.instanceId }, soon());
    expect(await host.traces()).toContain(`${plan.instanceId}_VARS.fd`);
    await removed(plan);
  });

  test("one that cannot be started says why, and one that somebody undefined is missed", async () => {
    const plan = await made(planned({ ...KERNEL, image: "tiny.qcow2" }));
    await rm(join(host.instanceDirectory, (await host.traces()).find((trace) => trace.endsWith(".qcow2"))!));
    const refused = await host.driver.start({ instanceId: plan.instanceId }, soon()).catch((error: unknown) => error);
    expect(refused).toMatchObject({
      code: "FAILED_PRECONDITION",
      reason: "LibvirtRefused",
      message: expect.stringContaining("No such file"),
    });
    expect(await host.find(plan)).toMatchObject({
      state: "FAILED",
      reason: "FAILED_TO_START",
      message: expect.stringContaining("No such file"),
    });
    await host.virsh("undefine", plan.instanceId);
    await until(async () => (await host.find(plan)) === null, "the domain to be missed");
    await expect(host.driver.start({ instanceId: plan.instanceId }, soon())).rejects.toMatchObject({ reason: "InstanceMissing" });
    await removed(plan);
  });

  test("groups are shared by the instances that have them, and go with the last", async () => {
    const network = { securityGroups: ["web", "ssh"] };
    const [one, two] = [
      await made(planned({ ...KERNEL, network })),
      await made(planned({ ...KERNEL, network: { securityGroups: ["web"] } })),
    ];
    const filters = async () => (await host.traces()).flatMap((trace) => /fleetgraph-\S+/.exec(trace) ?? []).sort();
    expect(await filters()).toEqual([
      `fleetgraph-${one.instanceId}`,
      `fleetgraph-${two.instanceId}`,
      "fleetgraph-sg-ssh",
      "fleetgraph-sg-web",
    ]);
    await removed(one);
    expect(await filters()).toEqual([`fleetgraph-${two.instanceId}`, "fleetgraph-sg-web"]);
    await removed(two);
    expect(await filters()).toEqual([]);
  });

  test("what others made is listed and left alone, until it is adopted", async () => {
    const xml = await host.host.libvirt.writeFile(
      "theirs.xml",
      "<domain type='qemu'><name>theirs</name><memory unit='MiB'>64</memory><os><type>hvm</type></os></domain>",
    );
    await host.virsh("define", xml);
    await host.virsh("autostart", "theirs");
    const theirs = (await host.driver.list(soon())).find(({ name }) => name === "theirs")!;
    expect(theirs).toMatchObject({ mark: null, state: "STOPPED", memoryBytes: 64 * MIB, type: InstanceType.VM });
    const ref = { nativeId: theirs.nativeId };
    await expect(host.driver.remove(ref, soon())).rejects.toMatchObject({ code: "FAILED_PRECONDITION", reason: "InstanceUnmanaged" });

    const mark = { instanceId: "inst-adopted000000000", nodeId: "node-1", generation: 7 };
    await host.driver.adopt(theirs.nativeId, mark, soon());
    await host.driver.adopt(theirs.nativeId, mark, soon());
    await expect(host.driver.adopt(theirs.nativeId, { ...mark, instanceId: "inst-x" }, soon())).rejects.toMatchObject({ code: "CONFLICT" });
    await host.restartAgent();
    expect(await host.driver.find({ instanceId: mark.instanceId }, soon())).toMatchObject({ nativeId: theirs.nativeId, mark });
    expect(await host.virsh("dominfo", "theirs")).toMatch(/Autostart: +disable/);
    await host.driver.remove({ instanceId: mark.instanceId }, soon());
    expect(await host.traces()).toEqual([]);
  });

  test("an instance's name that others took is not touched", async () => {
    const plan = planned(KERNEL);
    const xml = await host.host.libvirt.writeFile(
      "taken.xml",
      `<domain type='qemu'><name>${plan.instanceId}</name><memory>65536</memory><os><type>hvm</type></os></domain>`,
    );
    await host.virsh("define", xml);
    await expect(host.driver.create(plan, quiet, soon())).rejects.toMatchObject({ code: "ALREADY_EXISTS", reason: "NameTaken" });
    await host.driver.remove({ instanceId: plan.instanceId }, soon());
    expect(await host.traces()).toEqual([plan.instanceId]);
    await host.virsh("undefine", plan.instanceId);
  });

  test("while libvirt's daemon is away everything says so; guests and what is known of them are there when it is back", async () => {
    const plan = await made(planned({ ...KERNEL, memoryBytes: 96 * MIB }, { type: InstanceType.MICROVM }));
    await host.driver.start({ instanceId: plan.instanceId }, soon());
    host.available.length = 0;
    await host.host.libvirt.kill();
    await until(() => host.available.includes(false), "the driver to notice");
    expect(host.driver.available).toBe(false);
    await expect(host.driver.list(soon())).rejects.toMatchObject({ code: "UNAVAILABLE" });
    const support = await host.driver.support(soon());
    expect(support.map(({ supported, reason }) => [supported, reason])).toEqual([
      [false, "DriverUnreachable"],
      [false, "DriverUnreachable"],
    ]);
    await host.host.libvirt.start();
    await until(() => host.driver.available, "the driver to be back", 30_000);
    expect(host.available).toEqual([false, true]);
    expect(await host.find(plan)).toMatchObject({ state: "RUNNING", mark: { instanceId: plan.instanceId } });
    await removed(plan);
    expect(await host.traces()).toEqual([]);
  });
});
