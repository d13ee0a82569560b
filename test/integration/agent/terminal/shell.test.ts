import { readFile } from "node:fs/promises";
import { userInfo } from "node:os";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openShell } from "../../../../agent/terminal/shell.ts";
import { ConsoleEnd, ConsoleKind } from "../../../../schema/generated/proto/hypervisor/v1/consoles.ts";
import { ServedConsoles } from "../../../support/served-consoles.ts";
import { until } from "../../../support/until.ts";

const MIB = 1024 ** 2;
let served: ServedConsoles;

beforeAll(async () => {
  process.env["FLEETGRAPH_TEST_SECRET"] = "not for shells";
  served = await ServedConsoles.start(() => [], { openShell, limits: { inputMs: 500 } });
});
afterAll(async () => {
  delete process.env["FLEETGRAPH_TEST_SECRET"];
  await served?.[Symbol.asyncDispose]();
});

const shell = () => served.open({ kind: ConsoleKind.SHELL, size: { width: 100, height: 30 } });

/** Whether a process runs; one that is dead and not yet buried does not. */
async function runs(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  return stat !== "" && !/\) Z /.test(stat);
}

test("a shell is the agent's user's own, at home, of the size that it is given, and knows nothing of the agent", async () => {
  const session = await shell();
  expect(session).toMatchObject({ kind: ConsoleKind.SHELL, instanceId: "", resizable: true, takesInput: true, writable: true });
  const viewer = served.watch(session);
  const { username, homedir } = userInfo();
  await served.type(session, 'echo "[$(id -un) $PWD $(stty size) $TERM $FLEETGRAPH_TEST_SECRET]"\r');
  await viewer.seen(`[${username} ${homedir} 30 100 xterm-256color ]`);
  await served.resize(session, 60, 20);
  await served.type(session, "echo si$((1+1))e $(stty size)\r");
  await viewer.seen("si2e 20 60");
  await served.type(session, "exit\r");
  expect(await viewer.over()).toMatchObject({ session: { ended: ConsoleEnd.STOPPED } });
});

test("what runs in it ends with it: also what is in the background, and what does not want to", async () => {
  const session = await shell();
  const viewer = served.watch(session);
  await served.type(
    session,
    "set -m; nohup sleep 3600 >/dev/null 2>&1 & (trap '' HUP; sleep 3600) & echo pi$((1+1))ds $$ $(jobs -p | tr '\\n' ' ').\r",
  );
  const pids = async () =>
    /pi2ds ([\d ]+)\./
      .exec(await viewer.seen("pi2ds "))?.[1]
      ?.trim()
      .split(" ")
      .map(Number) ?? [];
  await until(async () => (await pids()).length === 3, "three processes", 30_000);
  const started = await pids();
  for (const pid of started) expect(await runs(pid)).toBe(true);
  await served.close(session);
  for (const pid of started) expect(await runs(pid)).toBe(false);
  expect(await viewer.over()).toMatchObject({ session: { ended: ConsoleEnd.CLOSED } });
});

test("10 MiB come whole, and a program that does not read holds back only who types", async () => {
  const session = await shell();
  const viewer = served.watch(session);
  const line = "0123456789abcdef".repeat(32).slice(1);
  await served.type(session, `stty -opost -echo; yes ${line} | head -c ${10 * MIB}; stty opost echo; echo do$((1+1))ne\r`);
  await viewer.got(10 * MIB);
  await viewer.seen("do2ne", 10 * MIB);
  expect(viewer.text.split(`${line}\n`)).toHaveLength((10 * MIB) / 512 + 1);
  expect(viewer.frames.some(({ skipped }) => skipped)).toBe(false);
  await served.type(session, "stty raw -echo; echo de$((1+1))f; sleep 3600\r");
  await viewer.seen("de2f", 10 * MIB);
  const refusals: unknown[] = [];
  for (let count = 0; count < 20 && refusals.length === 0; count++) {
    await served.type(session, "x".repeat(60_000)).catch((error: { reason: string }) => refusals.push(error.reason));
  }
  expect(refusals).toEqual(["InputNotTaken"]);
  await served.close(session);
});
