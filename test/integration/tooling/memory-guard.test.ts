import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { afterEach, expect, test } from "vitest";
import { MemoryGuard } from "../../support/memory-guard.ts";

const LIMIT_MIB = 200;
const started: ChildProcess[] = [];

afterEach(() => {
  for (const { pid, exitCode } of started.splice(0)) if (pid !== undefined && exitCode === null) process.kill(-pid, "SIGKILL");
});

/** A process that holds `mib` in Buffers and then gives way to no other task, below a shell that tells its end. */
async function holding(mib: number): Promise<ChildProcess> {
  const program = `
    const held = Array.from({ length: ${mib} }, () => Buffer.alloc(2 ** 20, 1));
    require("node:fs").writeSync(1, "held");
    while (held.length > 0);`;
  const shell = spawn("sh", ["-c", '"$0" -e "$1"; echo "ended with $?"', process.execPath, program], {
    stdio: ["ignore", "pipe", "ignore"],
    detached: true,
  });
  started.push(shell);
  await once(shell.stdout, "data");
  return shell;
}

test("a process of the test run that holds too much memory is killed, and another is not", async () => {
  const small = await holding(1);
  const large = await holding(LIMIT_MIB);
  const lines: string[] = [];
  const guard = new MemoryGuard({ limitMib: LIMIT_MIB, lookEveryMs: 20, write: (line) => lines.push(line) });
  guard.onTestRunStart();
  try {
    const [said] = await once(large.stdout as NodeJS.ReadableStream, "data");
    // 128 and SIGKILL's number.
    expect(String(said)).toBe("ended with 137\n");
    await once(large, "close");
  } finally {
    guard.onTestRunEnd();
  }
  expect(lines.join("")).toContain(`a test may hold ${LIMIT_MIB}`);
  expect(small.exitCode).toBeNull();
});
