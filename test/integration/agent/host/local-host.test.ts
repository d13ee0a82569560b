import { readdir, readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { LocalHost } from "../../../../agent/host/local.ts";
import { until } from "../../../support/until.ts";

const host = new LocalHost();
const never = new AbortController().signal;

/** Of programs that were started with this as one of their words. */
async function running(word: string): Promise<number> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const lines = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")));
  return lines.filter((line) => line.split("\0").includes(word)).length;
}

test("a program that is followed tells its lines, its words and how it ended", async () => {
  const program = await host.follow(
    { program: "sh", args: ["-c", 'echo "$1"; cat; echo problem >&2; exit 3', "sh", `it's "$HOME" *`] },
    never,
  );
  const lines: string[] = [];
  for await (const line of program.lines) lines.push(line);
  expect(lines).toEqual([`it's "$HOME" *`]);
  expect(await program.ended).toEqual({ exitCode: 3, stderr: "problem\n" });
  const killed = await host.follow({ program: "sh", args: ["-c", "kill -TERM $$"] }, never);
  expect(await killed.ended).toMatchObject({ exitCode: null });
});

test("one that is closed, or whose signal aborts, is gone, also where it does not listen", async () => {
  const word = `deaf-${process.pid}`;
  const script = "trap '' TERM; echo up; while :; do sleep 0.1; done";
  for (const end of ["close", "abort"] as const) {
    const stop = new AbortController();
    const program = await host.follow({ program: "sh", args: ["-c", script, word] }, stop.signal);
    for await (const line of program.lines) if (line === "up") break;
    expect(await running(word)).toBeGreaterThan(0);
    if (end === "abort") stop.abort();
    else await program.close();
    await program.ended;
    await until(async () => (await running(word)) === 0, `the end of a program by ${end}`);
  }
});

test("what is not installed says so before it is followed", async () => {
  const missing = host.follow({ program: "no-such-program", args: [] }, never);
  await expect(missing).rejects.toMatchObject({ reason: "NOT_INSTALLED", message: "no-such-program is not installed on this host." });
});
