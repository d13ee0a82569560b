import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ContainerDriver } from "../../../../agent/drivers/containers/container-driver.ts";
import type { InstancePlan } from "../../../../agent/drivers/instance-driver.ts";
import { ConsoleEnd, ConsoleKind } from "../../../../schema/generated/proto/hypervisor/v1/consoles.ts";
import { ContainerHost, soon, untilState } from "../../../support/container-host.ts";
import { containerPlan } from "../../../support/container-plan.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import { ServedConsoles } from "../../../support/served-consoles.ts";
import { until } from "../../../support/until.ts";

const SHELL = ["/bin/sh"];
const MIB = 1024 ** 2;
const quiet = () => undefined;
let ids = 0;

describeWithPeers("consoles of containers", ["network-namespaces", "podman"], () => {
  let host: ContainerHost;
  let driver: ContainerDriver;
  let served: ServedConsoles;
  beforeAll(async () => {
    host = await ContainerHost.start(84);
    driver = await host.driver();
    served = await ServedConsoles.start(() => [driver]);
  });
  afterAll(async () => {
    await served?.[Symbol.asyncDispose]();
    await host?.stop();
  });

  async function started(spec: Parameters<typeof containerPlan>[0] = {}): Promise<InstancePlan> {
    const plan = containerPlan(
      { command: SHELL, env: { PS1: "$ ", TERM: "xterm" }, ...spec },
      { instanceId: `inst-${String(++ids).padStart(16, "0")}` },
    );
    await driver.create(plan, quiet, soon());
    await driver.start(plan, soon());
    await untilState(driver, plan, "RUNNING");
    return plan;
  }

  describe("of a shell", () => {
    let plan: InstancePlan;
    beforeAll(async () => {
      plan = await started();
    });

    test("what is typed answers, and a full screen is drawn anew at the size that it is given", async () => {
      const session = await served.open({ instanceId: plan.instanceId });
      expect(session).toMatchObject({
        kind: ConsoleKind.TTY,
        resizable: true,
        takesInput: true,
        writable: true,
        size: { width: 80, height: 24 },
      });
      const viewer = served.watch(session);
      await served.type(session, "echo $((6*7))-$(stty size)\r");
      await viewer.seen("42-24 80\r\n");
      await served.resize(session, 100, 40);
      await served.type(session, "stty size; vi /tmp/text\r");
      await viewer.seen("40 100\r\n");
      // An empty screen of vi: a tilde on each line but the first and the last, each put where it belongs.
      const drawn = await viewer.seen("\u001b[40;1H");
      expect(drawn.match(/~/g)).toHaveLength(38);
      const from = viewer.length;
      await served.resize(session, 60, 10);
      const redrawn = await viewer.seen("\u001b[10;1H", from);
      expect(redrawn.slice(redrawn.lastIndexOf("\u001b[H")).match(/~/g)).toHaveLength(8);
      // Control-P is typed like any other key: the engine does not wait for more.
      await served.type(session, "ihello\u0010");
      await viewer.seen("hello^P");
      const typed = viewer.length;
      await served.type(session, "\u001b");
      await viewer.seen("- /tmp/text", typed);
      await served.type(session, ":wq\rcat /tmp/text; echo en$((1+1))d\r");
      expect(await viewer.seen("en2d", typed)).toContain("hello\u0010");
      await viewer.leave();
    });

    test("who comes back finds what was put out meanwhile, and goes on from where it was", async () => {
      const session = await served.open({ instanceId: plan.instanceId });
      const call = new AbortController();
      const viewer = served.watch(session, -1, call.signal);
      await served.type(session, "echo fi$((1+0))rst\r");
      await viewer.seen("fi1rst");
      const { length } = viewer;
      call.abort();
      await until(() => served.consoles.list("")[0]?.viewers === 0, "the viewer to be gone");
      await served.type(session, "echo se$((1+1))cond\r");
      const again = await served.open({ instanceId: plan.instanceId });
      expect(again).toMatchObject({ id: session.id, writable: true });
      const back = served.watch(again, length);
      await back.seen("se2cond");
      expect(back.text).not.toContain("fi1rst");
      expect(await served.watch(again).seen("se2cond")).toContain("fi1rst");
    });

    test("10 MiB come whole at one that reads, though another one has stopped", async () => {
      const session = await served.open({ instanceId: plan.instanceId });
      const call = new AbortController();
      const stopped = served.watch(session, -1, call.signal);
      await stopped.next();
      const viewer = served.watch(session, (await served.open({ instanceId: plan.instanceId })).nextOffset).read();
      const line = "0123456789abcdef".repeat(32).slice(1);
      await served.type(session, `stty -opost -echo; yes ${line} | head -c ${10 * MIB}; stty opost echo; echo do$((1+1))ne\r`);
      await viewer.got(10 * MIB);
      await viewer.seen("do2ne\r\n", 10 * MIB);
      expect(viewer.text.split(`${line}\n`)).toHaveLength((10 * MIB) / 512 + 1);
      expect(viewer.frames.some(({ skipped }) => skipped)).toBe(false);
      call.abort();
    });

    test("it goes on when the engine's service was killed and is back", async () => {
      const session = await served.open({ instanceId: plan.instanceId });
      const viewer = served.watch(session);
      await served.resize(session, 60, 10);
      await served.type(session, "echo be$((1+1))fore\r");
      await viewer.seen("be2fore");
      await host.podman.kill();
      await host.podman.start();
      const typed = await served.type(session, "echo af$((1+1))ter $(stty size)\r", { sequence: 0 });
      expect(typed.repeatedInput).toBe(false);
      expect(await viewer.seen("af2ter 10 60\r\n")).toContain("be2fore");
    });

    test("the shell's end is the session's, and the next start has a session of its own", async () => {
      const session = await served.open({ instanceId: plan.instanceId });
      const viewer = served.watch(session);
      await served.type(session, "echo b$((1+1))ye; exit\r");
      expect(await viewer.over()).toMatchObject({ session: { ended: ConsoleEnd.STOPPED } });
      expect(viewer.text).toContain("b2ye");
      await expect(served.open({ instanceId: plan.instanceId })).rejects.toMatchObject({ reason: "InstanceNotRunning" });
      await driver.start(plan, soon());
      const next = await served.open({ instanceId: plan.instanceId });
      expect(next.id).not.toBe(session.id);
      await driver.remove(plan, soon());
      expect(await served.watch(next).over()).toMatchObject({ session: { ended: ConsoleEnd.STOPPED } });
    });
  });

  test("one that was made without a terminal shows what it puts out, and takes nothing", async () => {
    const script = "while true; do echo out; echo err >&2; sleep 0.1; done";
    await host.podman.podman("run", "--detach", "--name", "theirs", "--network", "none", "localhost/busybox:latest", "sh", "-c", script);
    const nativeId = (await host.podman.podman("inspect", "--format", "{{.Id}}", "theirs")).trim();
    const instanceId = "inst-adopted000000000";
    await driver.adopt(nativeId, { instanceId, nodeId: "node-1", generation: 1 }, soon());
    const session = await served.open({ instanceId });
    expect(session).toMatchObject({ kind: ConsoleKind.TTY, resizable: false, takesInput: false });
    const viewer = served.watch(session);
    await viewer.seen("out\r\n");
    await viewer.seen("err\r\n");
    expect(viewer.text.replace(/out|err|\r\n/g, "")).toBe("");
    await expect(served.type(session, "x")).rejects.toMatchObject({ code: "FAILED_PRECONDITION", reason: "NoInput" });
    expect(await served.resize(session, 100, 30)).toMatchObject({ size: { width: 100, height: 30 } });
    expect(await served.close(session)).toMatchObject({ ended: ConsoleEnd.CLOSED });
    expect(await viewer.over()).toMatchObject({ message: "ann closed the console." });
  });
});
