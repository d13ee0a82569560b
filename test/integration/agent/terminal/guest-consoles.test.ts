import { afterAll, beforeAll, expect, test } from "vitest";
import type { InstancePlan } from "../../../../agent/drivers/instance-driver.ts";
import { InstanceType } from "../../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { ConsoleEnd, ConsoleKind, type ConsoleSession } from "../../../../schema/generated/proto/hypervisor/v1/consoles.ts";
import { DriverHost, soon } from "../../../support/driver-host.ts";
import type { FrameViewer } from "../../../support/frame-viewer.ts";
import { describeInCampaigns } from "../../../support/in-campaigns.ts";
import { instancePlan, MIB } from "../../../support/instance-plans.ts";
import { ServedConsoles } from "../../../support/served-consoles.ts";
import { GUEST_COMMAND_LINE } from "../../../support/tiny-guest.ts";
import { until } from "../../../support/until.ts";

const KERNEL = {
  kernel: "tiny-kernel",
  initrd: "tiny-initrd",
  kernelArgs: GUEST_COMMAND_LINE,
  network: { networkId: "none" },
  memoryBytes: 96 * MIB,
};
const PLANS = [
  instancePlan(KERNEL, { instanceId: "inst-0000000000000001", type: InstanceType.VM }),
  instancePlan(KERNEL, { instanceId: "inst-0000000000000002", type: InstanceType.MICROVM }),
];
const quiet = () => undefined;

describeInCampaigns("consoles of guests", ["network-namespaces", "libvirt", "tiny-guest"], () => {
  let host: DriverHost;
  let served: ServedConsoles;
  beforeAll(async () => {
    host = await DriverHost.start(75);
    served = await ServedConsoles.start(() => [host.driver], { limits: { readyMs: 500 } });
    await each(async (plan) => {
      await host.driver.create(plan, quiet, soon());
      await expect(served.open({ instanceId: plan.instanceId })).rejects.toMatchObject({
        code: "FAILED_PRECONDITION",
        reason: "InstanceNotRunning",
      });
      await host.driver.start(plan, soon());
    });
  }, 120_000);
  afterAll(async () => {
    await served?.[Symbol.asyncDispose]();
    await host?.[Symbol.asyncDispose]();
  }, 60_000);

  /** The VM and the microVM, side by side. */
  async function each(work: (plan: InstancePlan) => Promise<void>): Promise<void> {
    await Promise.all(PLANS.map(work));
  }

  /** Types as soon as the console is there. */
  async function typeAtLast(session: Pick<ConsoleSession, "id">, text: string, sequence: number): Promise<void> {
    const typed = async () => {
      try {
        await served.type(session, text, { sequence });
        return true;
      } catch (error) {
        expect(error).toMatchObject({ code: "UNAVAILABLE", reason: "ConsoleAway" });
        return false;
      }
    };
    await until(typed, "the console to be back", 40_000);
  }

  test("what is typed answers, and it goes on when libvirt's daemon was killed and is back", async () => {
    const before = new Map<InstancePlan, [ConsoleSession, FrameViewer]>();
    await each(async (plan) => {
      const session = await served.open({ instanceId: plan.instanceId });
      expect(session).toMatchObject({ kind: ConsoleKind.SERIAL, resizable: false, takesInput: true, writable: true });
      const viewer = served.watch(session);
      before.set(plan, [session, viewer]);
      await viewer.seen("guest# ");
      await served.type(session, "echo $((6*7))-$((40+2))\r", { sequence: 1 });
      await served.type(session, "echo $((6*7))-$((40+2))\r", { sequence: 1 });
      await viewer.seen("42-42\r\nguest# ");
      expect(await served.resize(session, 100, 30)).toMatchObject({ size: { width: 100, height: 30 } });
    });
    await host.host.libvirt.kill();
    await host.host.libvirt.start();
    await each(async (plan) => {
      const [session, viewer] = before.get(plan)!;
      await typeAtLast(session, "echo ba$((1+1))ck\r", 2);
      await viewer.seen("ba2ck\r\n");
      expect(viewer.text.match(/42-42/g)).toHaveLength(1);
      expect(viewer.frames.some(({ skipped }) => skipped)).toBe(false);
    });
    await until(() => host.driver.available, "the driver to be back", 40_000);
  });

  test("one that reads nothing of much holds nobody back: not the guest, and no other viewer", async () => {
    await each(async (plan) => {
      const session = await served.open({ instanceId: plan.instanceId });
      const call = new AbortController();
      const stopped = served.watch(session, -1, call.signal);
      await stopped.next();
      const viewer = served.watch(session, session.nextOffset);
      await served.type(session, "seq 1 15000; echo do$((1+1))ne\r");
      const numbers = Array.from({ length: 15_000 }, (_, index) => `${index + 1}\r\n`).join("");
      expect(await viewer.seen("do2ne\r\n")).toContain(numbers);
      call.abort();
    });
  });

  test("another program may take it; it is taken back from that program", async () => {
    await each(async (plan) => {
      const session = await served.open({ instanceId: plan.instanceId });
      const viewer = served.watch(session, session.nextOffset);
      const { nativeId } = (await host.find(plan))!;
      const dom = { name: plan.instanceId, uuid: nativeId, id: -1 };
      await using other = await host.client.openStream("domainOpenConsole", { dom, flags: 1 });
      const drained = (async () => {
        for await (const _ of other);
      })().catch(quiet);
      const isAway = (error: unknown) => (error as { reason?: string }).reason === "ConsoleAway";
      await until(() => served.type(session, "\r").then(() => false, isAway), "the console to be away", 40_000);
      expect(await served.open({ instanceId: plan.instanceId, takeOver: true })).toMatchObject({ id: session.id });
      await typeAtLast(session, "echo mi$((1+1))ne\r", 0);
      await viewer.seen("mi2ne");
      await drained;
    });
  });

  test("its end is the session's", async () => {
    await each(async (plan) => {
      const session = await served.open({ instanceId: plan.instanceId });
      const viewer = served.watch(session, session.nextOffset);
      await host.driver.requestStop(plan, soon());
      expect(await viewer.over()).toMatchObject({ session: { ended: ConsoleEnd.STOPPED } });
      expect(viewer.text).toContain("FLEETGRAPH-GUEST-POWEROFF");
    });
  });
});
