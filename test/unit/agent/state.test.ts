import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parseJoinToken } from "../../../agent/identity/join-token.ts";
import { StateFile } from "../../../agent/identity/state-file.ts";
import { lockState } from "../../../agent/identity/state-lock.ts";

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "fleetgraph-state-"));
});

afterEach(() => rm(directory, { recursive: true, force: true }));

describe("the lock on a state directory", () => {
  it("lets one agent in, and the next after its release", async () => {
    const release = await lockState(directory);
    await expect(lockState(directory)).rejects.toMatchObject({ code: "FAILED_PRECONDITION", reason: "StateInUse" });
    await release();
    await (await lockState(directory))();
    expect(await readdir(directory)).toEqual([]);
  });

  it("is taken over from a process that was killed", async () => {
    const child = spawn("sleep", ["60"]);
    await once(child, "spawn");
    const start = (await readFile(`/proc/${child.pid}/stat`, "utf8")).split(" ")[21];
    const boot = (await readFile("/proc/sys/kernel/random/boot_id", "utf8")).trim();
    await writeFile(join(directory, "agent.lock"), `${child.pid} ${start} ${boot} x\n`);
    await expect(lockState(directory)).rejects.toMatchObject({ reason: "StateInUse" });
    child.kill("SIGKILL");
    await once(child, "exit");
    await (await lockState(directory))();
  });

  it("is taken over where its process id belongs to another process now, or another boot", async () => {
    const boot = (await readFile("/proc/sys/kernel/random/boot_id", "utf8")).trim();
    for (const content of [`${process.pid} 1 ${boot} x\n`, `${process.pid} 1 another x\n`, "", "garbage"]) {
      await writeFile(join(directory, "agent.lock"), content);
      await (await lockState(directory))();
    }
  });

  it("goes to exactly one of many that find it stale at once", async () => {
    await writeFile(join(directory, "agent.lock"), "999999999 1 x y\n");
    const outcomes = await Promise.allSettled(Array.from({ length: 8 }, () => lockState(directory)));
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    expect(await readdir(directory)).toEqual(["agent.lock"]);
  });

  it("is taken over also where the one before was killed while it removed another's", async () => {
    await writeFile(join(directory, "agent.lock"), "999999999 1 x y\n");
    await writeFile(join(directory, "agent.lock.removal"), "999999998 1 x y\n");
    await (await lockState(directory))();
    expect(await readdir(directory)).toEqual([]);
  });
});

describe("the state file", () => {
  it("keeps the node's id and the commands that were run, readable by its owner only", async () => {
    const state = await StateFile.open(directory);
    await state.setControlPlane("192.0.2.1:50053");
    await Promise.all([state.setNode("local", "node-1"), state.setNode("other", "node-2")]);
    await state.addHandled("node-1", "command-1");
    const again = await StateFile.open(directory);
    expect(again.controlPlane).toBe("192.0.2.1:50053");
    expect([again.nodeId("local"), again.nodeId("other"), again.nodeId("third")]).toEqual(["node-1", "node-2", null]);
    expect([again.isHandled("node-1", "command-1"), again.isHandled("node-2", "command-1")]).toEqual([true, false]);
    expect((await stat(join(directory, "state.json"))).mode & 0o777).toBe(0o600);
    expect(await readdir(directory)).toEqual(["state.json"]);
  });

  it("forgets the oldest of very many commands", async () => {
    const state = await StateFile.open(directory);
    await state.setNode("local", "node-1");
    for (let index = 0; index < 260; index += 1) await state.addHandled("node-1", `command-${index}`);
    expect([0, 3, 4, 259].map((index) => state.isHandled("node-1", `command-${index}`))).toEqual([false, false, true, true]);
  });

  it("says what to do where it is damaged", async () => {
    for (const text of ["", "{", '{"version":2}', '{"version":1,"controlPlane":"x","nodes":[{"nodeId":1}]}']) {
      await writeFile(join(directory, "state.json"), text);
      await expect(StateFile.open(directory)).rejects.toThrow(/is damaged\. Restore it from a backup, or delete it/);
    }
  });

  it("does not count what could not be written", async () => {
    const state = await StateFile.open(directory);
    await state.setNode("local", "node-1");
    await rm(directory, { recursive: true });
    await expect(state.addHandled("node-1", "command-1")).rejects.toThrow(/ENOENT/);
    expect(state.isHandled("node-1", "command-1")).toBe(false);
  });
});

describe("a join token", () => {
  const content = { id: "join-1", secret: "s3cret", ca: "AB".repeat(32), address: "control.example:50053" };
  const encode = (value: unknown) => `fgj_${Buffer.from(JSON.stringify(value)).toString("base64url")}`;

  it("is read", () => {
    expect(parseJoinToken(` ${encode(content)}\n`)).toEqual({
      id: "join-1",
      secret: "s3cret",
      caFingerprint: "ab".repeat(32),
      address: "control.example:50053",
    });
  });

  it("is refused when it is damaged, without being repeated", () => {
    const damaged = [
      encode(content).slice(0, -9),
      "fgj_",
      "token",
      encode({ ...content, ca: "12" }),
      encode({ ...content, address: "nowhere" }),
    ];
    for (const text of damaged) {
      expect(() => parseJoinToken(text)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT", details: { field: "joinToken" } }));
      expect(() => parseJoinToken(text)).not.toThrow(/s3cret/);
    }
  });
});
