import { afterAll, beforeAll, expect, test } from "vitest";
import type { InstanceTerminal } from "../../../../agent/drivers/console-driver.ts";
import type { InstancePlan } from "../../../../agent/drivers/instance-driver.ts";
import { Firmware, InstanceType } from "../../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { CreateSnapshotRequest, Quiesce } from "../../../../schema/generated/proto/hypervisor/v1/snapshots.ts";
import { DriverHost, soon } from "../../../support/driver-host.ts";
import { describeInCampaigns, inCampaigns } from "../../../support/in-campaigns.ts";
import { instancePlan, MIB } from "../../../support/instance-plans.ts";
import { GUEST_COMMAND_LINE } from "../../../support/tiny-guest.ts";
import { until } from "../../../support/until.ts";

const KERNEL = { kernel: "tiny-kernel", initrd: "tiny-initrd", kernelArgs: GUEST_COMMAND_LINE };
const NETWORK = { networkId: "none" };
const SIZE = { columns: 80, rows: 24 };
const WAIT_MS = 60_000;
const quiet = () => undefined;
let ids = 0;

function planned(spec: Parameters<typeof instancePlan>[0], more: Partial<InstancePlan> = {}): InstancePlan {
  return instancePlan({ network: NETWORK, ...spec }, { instanceId: `inst-${String(++ids).padStart(16, "0")}`, ...more });
}

function asked(snapshotId: string, more: Partial<CreateSnapshotRequest> = {}): CreateSnapshotRequest {
  return CreateSnapshotRequest.create({ snapshotId, name: `name of ${snapshotId}`, description: "two\nlines", ...more });
}

/** A guest's console, to type commands and read what they say. */
class Typist implements AsyncDisposable {
  readonly #terminal: InstanceTerminal;
  #seen = "";

  constructor(terminal: InstanceTerminal) {
    this.#terminal = terminal;
    void this.#read();
  }

  async #read(): Promise<void> {
    for await (const bytes of this.#terminal) this.#seen += Buffer.from(bytes).toString("latin1");
  }

  /** What a command printed. Typed again where a guest that is still booting swallowed it. */
  async ask(command: string): Promise<string> {
    const mark = `${++ids}`;
    const answer = () => new RegExp(`<${mark}:(.*?):${mark}>`, "s").exec(this.#seen)?.[1];
    let typedAt = Number.NEGATIVE_INFINITY;
    await until(
      async () => {
        if (answer() === undefined && performance.now() - typedAt > 5_000) {
          typedAt = performance.now();
          // The echo of the command is no answer.
          await this.#terminal.write(Buffer.from(`echo "<"${mark}":$(${command}):${mark}>"\n`));
        }
        return answer() !== undefined;
      },
      `an answer to ${command}`,
      WAIT_MS,
    ).catch((error: Error) => {
      throw new Error(`${error.message} It shows: ${this.#seen.slice(-500)}`);
    });
    return answer() ?? "";
  }

  async type(command: string): Promise<void> {
    await this.#terminal.write(Buffer.from(`${command}\n`));
    await this.ask("true");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#terminal[Symbol.asyncDispose]();
  }
}

describeInCampaigns("snapshots and saved memory", ["network-namespaces", "libvirt", "tiny-guest"], () => {
  let host: DriverHost;
  beforeAll(async () => {
    host = await DriverHost.start(74);
  }, 120_000);
  afterAll(async () => await host?.[Symbol.asyncDispose](), 60_000);

  async function running(plan: InstancePlan) {
    await host.driver.create(plan, quiet, soon());
    const ref = { instanceId: plan.instanceId };
    await host.driver.start(ref, soon());
    return ref;
  }
  const typist = async (ref: { instanceId: string }) => new Typist(await host.driver.consoles.openTerminal(ref, SIZE, soon()));

  for (const [kind, type] of [
    ["VM", InstanceType.VM],
    ["microVM", InstanceType.MICROVM],
  ] as const) {
    (type === InstanceType.VM ? test : inCampaigns)(
      `a ${kind} goes back to what its memory and disk were, and its memory goes to the disk and comes back`,
      async () => {
        const plan = planned({ ...KERNEL, disks: [{ name: "data", sizeBytes: 8 * MIB }] }, { type });
        const ref = await running(plan);
        const { snapshots } = host.driver;
        {
          await using guest = await typist(ref);
          await guest.ask("true");
          await guest.type("X=before; echo before > /dev/vda; sync");
        }
        const first = await snapshots.createSnapshot(ref, asked("snap-first"), soon());
        expect(first).toMatchObject({
          id: "snap-first",
          name: "name of snap-first",
          description: "two\nlines",
          state: "RUNNING",
          hasMemory: true,
          quiesced: false,
          notQuiescedReason: "NoGuestAgent",
          parentId: "",
          current: true,
          managed: true,
        });
        expect(await snapshots.createSnapshot(ref, asked("snap-first", { name: "again" }), soon())).toEqual(first);
        {
          await using guest = await typist(ref);
          await guest.type("X=after; echo after > /dev/vda; sync");
          expect(await guest.ask("echo $X $(head -n 1 /dev/vda)")).toBe("after after");
        }
        await snapshots.createSnapshot(ref, asked("snap-second", { quiesce: Quiesce.NEVER }), soon());
        expect((await snapshots.listSnapshots(ref, soon())).map(({ id, parentId, current }) => [id, parentId, current])).toEqual([
          ["snap-first", "", false],
          ["snap-second", "snap-first", true],
        ]);
        await snapshots.revertSnapshot(ref, "snap-first", soon());
        expect(await host.find(plan)).toMatchObject({ state: "RUNNING" });
        {
          await using guest = await typist(ref);
          expect(await guest.ask("echo $X $(head -n 1 /dev/vda)")).toBe("before before");
        }
        await snapshots.deleteSnapshot(ref, "snap-first", soon());
        await snapshots.deleteSnapshot(ref, "snap-first", soon());
        expect((await snapshots.listSnapshots(ref, soon())).map(({ id, parentId }) => [id, parentId])).toEqual([["snap-second", ""]]);
        await expect(snapshots.revertSnapshot(ref, "snap-first", soon())).rejects.toMatchObject({ code: "NOT_FOUND" });

        // Its memory goes to the disk and comes back, also after libvirtd was started anew.
        await host.driver.suspend(ref, soon(), { toDisk: true });
        await host.driver.suspend(ref, soon(), { toDisk: true });
        expect(await host.find(plan)).toMatchObject({ state: "PAUSED", reason: "SAVED" });
        await expect(host.driver.snapshots.createSnapshot(ref, asked("snap-saved"), soon())).rejects.toMatchObject({
          reason: "InstanceSuspended",
        });
        await host.host.libvirt.kill();
        await host.host.libvirt.start();
        await until(() => host.driver.available, "the driver");
        expect((await host.driver.list(soon())).map(({ state, reason }) => [state, reason])).toEqual([["PAUSED", "SAVED"]]);
        await host.driver.resume(ref, soon());
        {
          await using guest = await typist(ref);
          expect(await guest.ask("echo $X")).toBe("before");
        }
        // What is asked of one that is saved is done to the guest that it is.
        await host.driver.suspend(ref, soon(), { toDisk: true });
        if (type === InstanceType.VM) {
          await host.driver.requestStop(ref, soon());
          await host.toldOf(plan, "STOPPED REQUESTED");
        } else {
          await host.driver.kill(ref, soon());
          expect(await host.find(plan)).toMatchObject({ state: "STOPPED" });
        }
        await host.driver.remove(ref, soon());
        expect(await host.traces()).toEqual([]);
      },
    );
  }

  test("one that does not run has its disks alone in it, and going back to it ends what runs", async () => {
    const plan = planned({ ...KERNEL, disks: [{ name: "data", sizeBytes: 8 * MIB }] });
    const ref = { instanceId: plan.instanceId };
    await host.driver.create(plan, quiet, soon());
    const { snapshots } = host.driver;
    expect(await snapshots.createSnapshot(ref, asked("snap-off"), soon())).toMatchObject({
      state: "STOPPED",
      hasMemory: false,
      notQuiescedReason: "NotRunning",
    });
    await host.driver.start(ref, soon());
    await expect(snapshots.createSnapshot(ref, asked("snap-must", { quiesce: Quiesce.REQUIRED }), soon())).rejects.toMatchObject({
      reason: "NoGuestAgent",
    });
    await snapshots.revertSnapshot(ref, "snap-off", soon());
    expect(await host.find(plan)).toMatchObject({ state: "STOPPED", reason: "FROM_SNAPSHOT" });
    await host.driver.remove(ref, soon());
  });

  test("what cannot have snapshots says why", async () => {
    const plan = planned({ image: "tiny.qcow2", disks: [{ name: "root", boot: true }], firmware: Firmware.UEFI });
    const ref = { instanceId: plan.instanceId };
    await host.driver.create(plan, quiet, soon());
    await expect(host.driver.snapshots.createSnapshot(ref, asked("snap-uefi"), soon())).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      reason: "SnapshotsUnsupported",
      message: expect.stringContaining("UEFI"),
    });
    await host.driver.remove(ref, soon());
    await expect(host.driver.snapshots.listSnapshots(ref, soon())).rejects.toMatchObject({ reason: "InstanceMissing" });
    expect(await host.traces()).toEqual([]);
  });
});
