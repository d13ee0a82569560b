import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import type { InstancePlan } from "../../../../agent/drivers/instance-driver.ts";
import type { InstanceStorage, PreparedStorage } from "../../../../agent/drivers/libvirt/storage/instance-storage.ts";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import { describeInCampaigns } from "../../../support/in-campaigns.ts";
import { seededRandom, seedOfRun } from "../../../support/random.ts";
import { planFor, qemuImage, qemuImageInfo, StorageHost } from "../../../support/storage-host.ts";

const MIB = 2 ** 20;
const ROUNDS = 4;
/** Longer than it takes to prepare three instances here, so that some kills come after the end. */
const LONGEST_MS = 150;
const seed = seedOfRun();

describeInCampaigns(`storage that is interrupted at any moment (SEED=${seed})`, "libvirt", () => {
  let host: StorageHost;
  let storage: InstanceStorage;
  let signal: AbortSignal;
  const random = seededRandom(seed);

  beforeAll(async () => {
    host = await StorageHost.start();
    await mkdir(host.images);
    await qemuImage(host.images, "create", "-q", "-f", "qcow2", "debian.qcow2", "64M");
    await writeFile(join(host.images, "vmlinuz"), "kernel");
  });

  beforeEach(() => {
    signal = AbortSignal.timeout(50_000);
    storage = host.storage();
  });

  afterAll(() => host[Symbol.asyncDispose]());

  const plansOf = (round: number): InstancePlan[] =>
    [0, 1, 2].map((index) =>
      planFor(`inst-k${round}x${index}`, {
        image: "debian",
        kernel: "vmlinuz",
        disks: [
          { name: "root", boot: true, sizeBytes: 128 * MIB },
          { name: "data", sizeBytes: MIB },
        ],
        cloudInit: { userData: "#cloud-config\n" },
      }),
    );

  /** As the agent's keeper does it: what failed because libvirt was away is tried again. */
  async function prepareAtLast(plan: InstancePlan): Promise<PreparedStorage> {
    for (;;) {
      try {
        return await storage.prepare(plan, () => undefined, signal);
      } catch (error) {
        if (!(error instanceof FleetError) || error.code !== "UNAVAILABLE") throw error;
      }
    }
  }

  async function expectWhole(plans: InstancePlan[]): Promise<void> {
    const files = plans.flatMap(({ instanceId }) => ["data.qcow2", "root.qcow2", "seed.iso"].map((name) => `${instanceId}.${name}`));
    expect(await host.instanceFiles()).toEqual(files.sort());
    for (const { instanceId } of plans) {
      expect(await qemuImageInfo(join(host.instances, `${instanceId}.root.qcow2`))).toMatchObject({
        "virtual-size": 128 * MIB,
        "backing-filename": join(host.images, "debian.qcow2"),
      });
      expect(await qemuImageInfo(join(host.instances, `${instanceId}.data.qcow2`))).toMatchObject({ "virtual-size": MIB });
    }
  }

  it("is whole once libvirtd is back, and leaves no file when it is removed", async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const plans = plansOf(round);
      // A connection that is lost again and again is opened less and less often.
      storage = host.storage({ client: host.connect() });
      const prepared = Promise.all(plans.map(prepareAtLast));
      await delay(random() * LONGEST_MS);
      await host.daemon.kill();
      await host.daemon.start();
      const paths = (await prepared).map(({ disks, seed: iso }) => [...disks.map(({ path }) => path), iso]);
      expect(await Promise.all(plans.map(async (plan) => (await storage.existing(plan, signal))?.disks.length))).toEqual([2, 2, 2]);
      expect(paths.flat()).toHaveLength(9);
      await expectWhole(plans);

      const removed = Promise.all(plans.map(({ instanceId }) => removeAtLast(instanceId)));
      await delay(random() * 20);
      await host.daemon.kill();
      await host.daemon.start();
      await removed;
      expect(await host.instanceFiles()).toEqual([]);
    }
  });

  it("leaves nothing where it was given up, and is whole when it is asked for again", async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const plans = plansOf(round);
      const controller = new AbortController();
      const given = Promise.allSettled(plans.map((plan) => storage.prepare(plan, () => undefined, controller.signal)));
      await delay(random() * LONGEST_MS);
      controller.abort(new FleetError("CANCELLED", "The instance is deleted."));
      const failed = (await given).flatMap((result) => (result.status === "rejected" ? [result.reason] : []));
      for (const error of failed) expect(error).toMatchObject({ code: "CANCELLED" });
      const files = await host.instanceFiles();
      for (const [index, result] of (await given).entries()) {
        const own = files.filter((name) => name.startsWith(`${plans[index]?.instanceId}.`));
        expect(own).toHaveLength(result.status === "rejected" ? 0 : 3);
      }
      await Promise.all(plans.map(prepareAtLast));
      await expectWhole(plans);
      await Promise.all(plans.map(({ instanceId }) => storage.remove(instanceId, signal)));
      expect(await host.instanceFiles()).toEqual([]);
    }
  });

  async function removeAtLast(instanceId: string): Promise<void> {
    for (;;) {
      try {
        await storage.remove(instanceId, signal);
        return;
      } catch (error) {
        if (!(error instanceof FleetError) || error.code !== "UNAVAILABLE") throw error;
      }
    }
  }
});
