import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { followProgram } from "../../../../agent/hardware/watch/followed-program.ts";
import { LocalHost } from "../../../../agent/host/local.ts";
import { createLogger } from "../../../../platform/observability/log.ts";
import { until } from "../../../support/until.ts";

const host = new LocalHost();
const log = createLogger({ name: "test", level: "silent" });
const backoff = { firstMs: 20, longestMs: 50 };

function follow(script: string, signal: AbortSignal, program = "sh") {
  const lines: string[] = [];
  let started = 0;
  const ended = followProgram(
    {
      ...{ host, log, backoff, command: { program, args: ["-c", script] } },
      onLine: (line) => lines.push(line),
      onStarted: () => {
        started += 1;
      },
    },
    signal,
  );
  return { lines, ended, started: () => started };
}

describe("a program of the host that is followed", () => {
  it("is started again whenever it ends, and says that it listens anew", async () => {
    const stopping = new AbortController();
    const { lines, ended, started } = follow("echo $$; sleep 0.5", stopping.signal);
    await until(() => lines.length >= 3 && started() >= 2, "three runs");
    expect(new Set(lines).size).toBe(lines.length);
    stopping.abort();
    await ended;
  });

  it("is killed with the follower, although it says nothing", async () => {
    const stopping = new AbortController();
    const { lines, ended } = follow("echo $$; exec sleep 1000", stopping.signal);
    await until(() => lines.length === 1, "its pid");
    stopping.abort();
    await ended;
    expect(() => process.kill(Number(lines[0]), 0)).toThrow(/ESRCH/);
  });

  it("is not tried again and again where it is not installed", async () => {
    const stopping = new AbortController();
    const { ended, started } = follow("", stopping.signal, "no-such-program-at-all");
    await delay(300);
    expect(started()).toBe(0);
    stopping.abort();
    await ended;
  });
});
