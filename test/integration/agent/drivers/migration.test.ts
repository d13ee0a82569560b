import { existsSync } from "node:fs";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { InstancePlan } from "../../../../agent/drivers/instance-driver.ts";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import { InstanceType } from "../../../../schema/generated/proto/hypervisor/v1/compute.ts";
import type { MigrationProgress } from "../../../../schema/generated/proto/hypervisor/v1/migration.ts";
import { type DriverHost, soon } from "../../../support/driver-host.ts";
import { describeInCampaigns, inCampaigns } from "../../../support/in-campaigns.ts";
import { instancePlan, MIB } from "../../../support/instance-plans.ts";
import { MigratingHosts, type Moving, SLOWLY } from "../../../support/migrating-hosts.ts";
import { GUEST_COMMAND_LINE } from "../../../support/tiny-guest.ts";
import { until } from "../../../support/until.ts";

/** A guest on a busy machine changes its memory faster than it is copied: it may stand still after a while. */
const SOON = { autoConvergeSeconds: 3 };

describeInCampaigns("live migration", ["libvirt", "network-namespaces"], () => {
  let hosts: MigratingHosts;
  let a: DriverHost;
  let b: DriverHost;
  /** Where the guest is now; it goes from test to test. */
  let plan: InstancePlan;
  let moving: Moving;

  beforeAll(async () => {
    hosts = await MigratingHosts.start(64);
    [a, b] = hosts.hosts;
    plan = instancePlan(
      {
        memoryBytes: 96 * MIB,
        kernel: "tiny-kernel",
        initrd: "tiny-initrd",
        kernelArgs: `${GUEST_COMMAND_LINE} guest.busy=8`,
        network: { networkId: "none" },
        disks: [{ name: "data", sizeBytes: 16 * MIB }],
        cloudInit: { userData: "#cloud-config\n{}\n" },
      },
      { instanceId: "inst-moving1", nodeId: "node-a" },
    );
    await a.driver.create(plan, () => undefined, soon());
    await a.driver.start(plan, soon());
    await until(async () => (await typed(a, "echo up-$((40+2))")).includes("up-42"), "the guest's shell", 60_000);
  });

  afterAll(() => hosts[Symbol.asyncDispose]());

  /** What the guest's console says to a line. */
  async function typed(host: DriverHost, line: string): Promise<string> {
    const { dom } = await host.client.call("domainLookupByName", { name: plan.instanceId });
    await using stream = await host.client.openStream("domainOpenConsole", { dom, devName: null, flags: 1 });
    await stream.write(Buffer.from(`\n${line}\n`));
    const end = setTimeout(() => stream.abort(), 3000);
    let text = "";
    try {
      for await (const chunk of stream) {
        text += Buffer.from(chunk).toString();
        if (/^up-42/m.test(text)) break;
      }
    } catch {
      // It did not answer in time.
    } finally {
      clearTimeout(end);
    }
    return text;
  }

  function move(from: DriverHost, to: DriverHost): Moving {
    moving = hosts.move(plan, from, to);
    return moving;
  }

  /** Up to where it is copied, with all checks passed. */
  async function prepared(from: DriverHost, to: DriverHost): Promise<Moving> {
    const moved = move(from, to);
    expect(await moved.check()).toEqual({});
    await moved.prepare();
    return moved;
  }

  /** Begins to copy, slowly, and goes on with `then` while that is under way. */
  async function copying(moved: Moving, then: () => Promise<void> | void, signal?: AbortSignal): Promise<FleetError> {
    const begun = Promise.withResolvers<void>();
    const onProgress = ({ currentBytes }: MigrationProgress) => {
      if (currentBytes > 0) begun.resolve();
    };
    const outcome = moved.perform({ bandwidthBps: SLOWLY, onProgress, ...(signal ? { signal } : {}) }).then(
      () => null,
      (error: unknown) => error,
    );
    await Promise.race([begun.promise, outcome]);
    await then();
    const error = await outcome;
    expect(error).toBeInstanceOf(FleetError);
    return error as FleetError;
  }

  /** Exactly one host has it, it runs there, and nothing of the attempt is left anywhere. */
  async function runsOnlyOn(here: DriverHost, there: DriverHost): Promise<void> {
    await until(async () => (await here.find(plan))?.state === "RUNNING", "the guest to run", 60_000);
    await until(async () => (await there.traces()).length === 0, "the other host to be empty", 60_000);
    expect(await here.virsh("domstate", plan.instanceId)).toBe("running");
    expect(await there.find(plan)).toBeNull();
    expect((await here.traces()).filter((trace) => trace.includes("seen-by"))).toEqual([]);
    expect(moving.socketDirectories.filter((directory) => existsSync(directory))).toEqual([]);
    for (const host of [here, there]) expect(await host.run("ss", "-Hltn")).toBe("");
    await until(async () => (await typed(here, "echo up-$((40+2))")).includes("up-42"), "the guest's shell", 60_000);
  }

  inCampaigns("moves a busy guest there and back with copies of its disks, and its mark tells where it is", async () => {
    plan = await move(a, b).complete(SOON);
    await runsOnlyOn(b, a);
    expect((await b.find(plan))?.mark).toEqual({ instanceId: plan.instanceId, nodeId: plan.nodeId, generation: 2 });
    expect(await b.virsh("dumpxml", "--inactive", plan.instanceId)).not.toContain(a.instanceDirectory);
    plan = await move(b, a).complete(SOON);
    await runsOnlyOn(a, b);
  });

  inCampaigns("moves a microVM whose disks both hosts share, and copies none", async () => {
    const microVm = instancePlan(
      {
        memoryBytes: 96 * MIB,
        kernel: "tiny-kernel",
        initrd: "tiny-initrd",
        kernelArgs: GUEST_COMMAND_LINE,
        network: { networkId: "none" },
        disks: [{ name: "data", sizeBytes: 16 * MIB, type: "hdd" }],
      },
      { instanceId: "inst-moving2", nodeId: "node-a", type: InstanceType.MICROVM },
    );
    const disk = join(hosts.sharedDirectory, "inst-moving2.data.qcow2");
    await a.driver.create(microVm, () => undefined, soon());
    await a.driver.start(microVm, soon());
    const moved = hosts.move(microVm, a, b);
    const there = await moved.complete(SOON);
    expect(moved.copiesDisks).toBe(false);
    expect(await a.find(microVm)).toBeNull();
    expect(await b.find(microVm)).toMatchObject({ state: "RUNNING", mark: { generation: 2 } });
    expect(await b.virsh("domblklist", "inst-moving2")).toContain(disk);
    await b.driver.remove(there, soon());
    expect(existsSync(disk)).toBe(false);
  });

  it("takes a guest only from an agent with the ticket of its migration", async () => {
    const moved = await prepared(a, b);
    await expect(hosts.carryTo(b, moved.migrationId, "0".repeat(40))).rejects.toMatchObject({
      code: "UNAUTHENTICATED",
      reason: "WrongTicket",
    });
    await expect(hosts.carryTo(b, "another", moved.ticket)).rejects.toMatchObject({ code: "UNAUTHENTICATED", reason: "WrongTicket" });
    await expect(hosts.carryTo(b, moved.migrationId, moved.ticket, "control")).rejects.toMatchObject({ code: "FORBIDDEN" });
    expect(await moved.finish(true)).toBe(false);
    await expect(hosts.carryTo(b, moved.migrationId, moved.ticket)).rejects.toMatchObject({ reason: "WrongTicket" });
    expect(await moved.confirm(true)).toBe(true);
  });

  it("refuses by name, and leaves nothing behind", async () => {
    await a.virsh("suspend", plan.instanceId);
    expect(Object.keys(await move(a, b).check())).toEqual(["State"]);
    await a.virsh("resume", plan.instanceId);
    const inTheWay = join(b.instanceDirectory, `${plan.instanceId}.data.qcow2`);
    await writeFile(inTheWay, "somebody's");
    const moved = move(a, b);
    expect(await moved.check()).toEqual({});
    await expect(moved.prepare()).rejects.toMatchObject({ reason: "DiskInTheWay" });
    expect(await b.traces()).toEqual([`${plan.instanceId}.data.qcow2`]);
    await rm(inTheWay);
    expect(await moved.confirm(true)).toBe(true);
    await runsOnlyOn(a, b);
  });

  it("is cancelled while it copies, and the guest runs on", async () => {
    const moved = await prepared(a, b);
    const cancel = new AbortController();
    const error = await copying(moved, () => cancel.abort(new FleetError("CANCELLED", "Enough.")), cancel.signal);
    expect(error.code).toBe("CANCELLED");
    expect(await moved.finish(true)).toBe(false);
    expect(await moved.confirm(true)).toBe(true);
    expect(moved.ended).toBe(1);
    await runsOnlyOn(a, b);
  });

  inCampaigns("ends where it began when the tunnel is cut", async () => {
    const moved = await prepared(a, b);
    expect((await copying(moved, () => hosts.cutTunnels())).reason).toBe("TunnelBroken");
    expect(await moved.inspect()).toBe("RUNNING INCOMING");
    expect(await moved.finish(true)).toBe(false);
    expect(await moved.confirm(true)).toBe(true);
    await runsOnlyOn(a, b);
  });

  inCampaigns("ends where it began when the source's libvirtd is killed", async () => {
    const moved = await prepared(a, b);
    const error = await copying(moved, async () => {
      await a.host.libvirt.kill();
      await a.host.libvirt.start();
    });
    expect(error.code).toBe("UNAVAILABLE");
    await until(() => a.driver.available, "the driver");
    expect(await moved.finish(true)).toBe(false);
    expect(await moved.confirm(true)).toBe(true);
    await runsOnlyOn(a, b);
  });

  it("ends where it began when the destination's libvirtd is killed before the guest was started there", async () => {
    const moved = await prepared(a, b);
    await moved.perform(SOON);
    await b.host.libvirt.kill();
    await b.host.libvirt.start();
    await until(() => b.driver.available, "the driver");
    expect(await moved.inspect()).toBe("PAUSED ABSENT");
    expect(await moved.finish()).toBe(false);
    expect(await moved.confirm(true)).toBe(true);
    await runsOnlyOn(a, b);
  });

  inCampaigns("ends where it began when the destination's agent is started anew", async () => {
    const moved = await prepared(a, b);
    expect((await b.traces()).length).toBeGreaterThan(0);
    await b.restartAgent();
    expect((await moved.perform(SOON).catch((error: unknown) => error)) as FleetError).toBeInstanceOf(FleetError);
    expect(await moved.inspect()).toBe("RUNNING ABSENT");
    await runsOnlyOn(a, b);
  });

  inCampaigns("leaves a guest that was copied paused when the source's agent is started anew, until it is decided", async () => {
    const moved = await prepared(a, b);
    await moved.perform(SOON);
    await a.restartAgent();
    expect(await moved.inspect()).toBe("PAUSED INCOMING");
    for (const step of ["start", "resume", "requestStop"] as const) {
      await expect(a.driver[step](plan, soon())).rejects.toMatchObject({ code: "UNAVAILABLE", reason: "MigrationUnderWay" });
    }
    expect(await moved.finish(true)).toBe(false);
    expect(await moved.confirm(true)).toBe(true);
    await runsOnlyOn(a, b);
  });

  inCampaigns("goes on forward when both agents are started anew after the guest came over, and repeats change nothing", async () => {
    const moved = await prepared(a, b);
    await moved.perform(SOON);
    expect(await moved.finish()).toBe(true);
    await Promise.all([a.restartAgent(), b.restartAgent()]);
    expect(await moved.inspect()).toBe("PAUSED RUNNING");
    expect(await moved.finish()).toBe(true);
    // It came too late.
    expect(await moved.finish(true)).toBe(true);
    expect(await moved.confirm()).toBe(false);
    expect(await moved.confirm()).toBe(false);
    await a.driver.remove(plan, soon(), { keepDisks: false });
    plan = moved.moved;
    await runsOnlyOn(b, a);
  });
});
