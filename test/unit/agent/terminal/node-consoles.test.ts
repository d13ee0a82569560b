import { afterEach, expect, test } from "vitest";
import type { ConsoleDriver, InstanceTerminal } from "../../../../agent/drivers/console-driver.ts";
import type { Found } from "../../../../agent/instances/host-drivers.ts";
import { CONSOLE_LIMITS, type ConsoleLimits } from "../../../../agent/terminal/limits.ts";
import { NodeConsoles } from "../../../../agent/terminal/node-consoles.ts";
import { readConsoleSessionId } from "../../../../platform/console-session-id.ts";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import { createLogger } from "../../../../platform/observability/log.ts";
import { ConsoleEnd, ConsoleKind } from "../../../../schema/generated/proto/hypervisor/v1/consoles.ts";
import { FakeTerminal } from "../../../support/fake-terminal.ts";
import { FrameViewer } from "../../../support/frame-viewer.ts";
import { until } from "../../../support/until.ts";

const log = createLogger({ name: "test", level: "silent" });
const asked = (subject: string, takeOver = false) => ({ nodeId: "node-1", subject, writerKey: subject, takeOver, size: null });
const open: NodeConsoles[] = [];

afterEach(async () => {
  for (const consoles of open.splice(0)) await consoles.stop();
});

function started(limits: Partial<ConsoleLimits> = {}, withShell = true) {
  const terminals: FakeTerminal[] = [];
  const make = (kind: InstanceTerminal["kind"]) => async () => {
    const terminal = new FakeTerminal({ kind });
    terminals.push(terminal);
    return terminal;
  };
  const driver: ConsoleDriver = { openTerminal: make("TTY") };
  const findInstance = async (_nodeId: string, instanceId: string) => {
    if (instanceId === "inst-none") throw new FleetError("NOT_FOUND", "There is none.");
    return { driver: { consoles: instanceId === "inst-silent" ? null : driver, name: "fake" }, native: { nativeId: instanceId } } as Found;
  };
  const consoles = new NodeConsoles({
    findInstance,
    openShell: withShell ? make("SHELL") : null,
    limits: { ...CONSOLE_LIMITS, ...limits },
    log,
  });
  open.push(consoles);
  return { consoles, terminals };
}

test("an instance has one session, that all who come join; a host has a shell for each", async () => {
  const { consoles, terminals } = started();
  const [first, second] = await Promise.all([consoles.openInstance("inst-1", asked("ann")), consoles.openInstance("inst-1", asked("bob"))]);
  expect(terminals).toHaveLength(1);
  expect(first).toMatchObject({ openedBy: "ann", writer: "ann", writable: true, kind: ConsoleKind.TTY, instanceId: "inst-1" });
  expect(second).toMatchObject({ id: first.id, writer: "ann", writable: false });
  expect(readConsoleSessionId(first.id)).toEqual({ kind: "tty", nodeId: "node-1" });
  const shells = [await consoles.openShell(asked("ann")), await consoles.openShell(asked("ann"))];
  expect(new Set([first.id, ...shells.map(({ id }) => id)]).size).toBe(3);
  expect(consoles.list("")).toHaveLength(3);
  expect(consoles.list("inst-1").map(({ id }) => id)).toEqual([first.id]);
});

test("a session that ended is known for a while, and the next one is another", async () => {
  const { consoles, terminals } = started({ rememberMs: 100 });
  const { id } = await consoles.openInstance("inst-1", asked("ann"));
  expect(await consoles.closeSession(id, "bob")).toMatchObject({ ended: ConsoleEnd.CLOSED });
  expect(await consoles.closeSession(id, "bob")).toMatchObject({ ended: ConsoleEnd.CLOSED });
  expect(terminals[0]?.disposed).toBe(true);
  expect(consoles.list("")).toEqual([]);
  const viewer = new FrameViewer(consoles.follow(id, -1, AbortSignal.timeout(10_000)));
  expect(await viewer.over()).toMatchObject({ message: "bob closed the console." });
  expect((await consoles.openInstance("inst-1", asked("ann"))).id).not.toBe(id);
  const known = () => {
    try {
      consoles.follow(id, -1, AbortSignal.timeout(10_000));
      return true;
    } catch (error) {
      expect(error).toMatchObject({ code: "NOT_FOUND" });
      return false;
    }
  };
  await until(() => !known(), "the session to be forgotten");
});

test("there are no more sessions than a host bears", async () => {
  const { consoles } = started({ sessions: 3, shells: 1 });
  await consoles.openShell(asked("ann"));
  await expect(consoles.openShell(asked("ann"))).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED", reason: "TooManyConsoles" });
  await consoles.openInstance("inst-1", asked("ann"));
  const { id } = await consoles.openInstance("inst-2", asked("ann"));
  await expect(consoles.openInstance("inst-3", asked("ann"))).rejects.toMatchObject({ reason: "TooManyConsoles" });
  await consoles.closeSession(id, "ann");
  await consoles.openInstance("inst-3", asked("ann"));
});

test("what cannot be opened is refused by its name, and takes no place", async () => {
  const { consoles } = started({ sessions: 1 }, false);
  await expect(consoles.openShell(asked("ann"))).rejects.toMatchObject({ code: "FAILED_PRECONDITION", reason: "ShellNotAllowed" });
  await expect(consoles.openInstance("inst-none", asked("ann"))).rejects.toMatchObject({ code: "NOT_FOUND" });
  await expect(consoles.openInstance("inst-silent", asked("ann"))).rejects.toMatchObject({ reason: "NoConsole" });
  await consoles.openInstance("inst-1", asked("ann"));
});

test("all end with the agent", async () => {
  const { consoles, terminals } = started();
  const { id } = await consoles.openInstance("inst-1", asked("ann"));
  const viewer = new FrameViewer(consoles.follow(id, -1, AbortSignal.timeout(10_000)));
  await viewer.next();
  await consoles.stop();
  expect(await viewer.over()).toMatchObject({ session: { ended: ConsoleEnd.LOST } });
  expect(terminals[0]?.disposed).toBe(true);
  await expect(consoles.openInstance("inst-2", asked("ann"))).rejects.toMatchObject({ code: "UNAVAILABLE" });
});
