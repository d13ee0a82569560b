import { describe, expect, it, test } from "vitest";
import { type ContainerFacts, containerFacts, isHalfStarted } from "../../../../../agent/drivers/containers/container-facts.ts";
import { conditionOf, type RunNotes } from "../../../../../agent/drivers/containers/container-state.ts";
import type { InspectedContainer } from "../../../../../agent/drivers/containers/engine-types.ts";
import { isOutOfMemory } from "../../../../../agent/drivers/containers/kernel-oom.ts";
import { RunMemory } from "../../../../../agent/drivers/containers/run-memory.ts";

const NEVER = "0001-01-01T00:00:00Z";
const MIB = 1024 ** 2;
const NOTHING: RunNotes = { asked: null, startError: null, outOfMemory: false };

function inspected(state: Partial<InspectedContainer["State"]> = {}, rest: Partial<InspectedContainer> = {}): InspectedContainer {
  return {
    Id: "0123456789ab",
    Name: "/inst-1",
    Image: "sha256:0",
    State: { Status: "running", OOMKilled: false, Pid: 1, ExitCode: 0, Error: "", StartedAt: NEVER, FinishedAt: NEVER, ...state },
    HostConfig: {},
    Config: {},
    ...rest,
  };
}

function ended(exitCode: number, state: Partial<InspectedContainer["State"]> = {}): ContainerFacts {
  const times = { StartedAt: "2026-01-01T00:00:00.5Z", FinishedAt: "2026-01-01T00:01:00Z" };
  return containerFacts(inspected({ Status: "exited", Pid: 0, ExitCode: exitCode, ...times, ...state }));
}

describe("the engines' states in the drivers' words", () => {
  test.each([
    ["running", "RUNNING", "STARTED"],
    ["paused", "PAUSED", "REQUESTED"],
    ["restarting", "RUNNING", "RESTARTING"],
    ["stopping", "STOPPING", "REQUESTED"],
    ["created", "STOPPED", "CREATED"],
    ["initialized", "STOPPED", "CREATED"],
    ["configured", "STOPPED", "CREATED"],
    ["removing", "FAILED", "REMOVING"],
    ["dead", "FAILED", "DEAD"],
    ["melted", "FAILED", "UNKNOWN"],
  ])("%s is %s, %s, without an exit code", (Status, state, reason) => {
    expect(conditionOf(containerFacts(inspected({ Status })), NOTHING)).toMatchObject({ state, reason, exitCode: null });
  });

  it("frozen or not is the kernel's word, where the engine does not know any more", () => {
    const state = (Status: string, frozen: boolean | null) => conditionOf(containerFacts(inspected({ Status }), frozen), NOTHING).state;
    expect([state("running", true), state("paused", true), state("paused", null)]).toEqual(["PAUSED", "PAUSED", "PAUSED"]);
    expect([state("running", false), state("paused", false), state("running", null)]).toEqual(["RUNNING", "RUNNING", "RUNNING"]);
    expect(state("created", true)).toBe("STOPPED");
  });

  it("a command that ended well is stopped, one that did not has failed", () => {
    expect(conditionOf(ended(0), NOTHING)).toEqual({ state: "STOPPED", reason: "EXITED", message: "", exitCode: 0 });
    expect(conditionOf(ended(3), NOTHING)).toEqual({
      state: "FAILED",
      reason: "EXITED",
      message: "Its command ended with exit code 3.",
      exitCode: 3,
    });
    expect(conditionOf(ended(139), NOTHING)).toMatchObject({ state: "FAILED", message: "Its command ended with exit code 139 (SIGSEGV)." });
  });

  it("one that was asked to end has not failed, whatever its exit code", () => {
    expect(conditionOf(ended(143), { ...NOTHING, asked: "REQUESTED" })).toMatchObject({
      state: "STOPPED",
      reason: "REQUESTED",
      exitCode: 143,
    });
    expect(conditionOf(ended(137), { ...NOTHING, asked: "DESTROYED", outOfMemory: true })).toMatchObject({
      state: "STOPPED",
      reason: "DESTROYED",
    });
  });

  it("one that ran out of memory says how much it had", () => {
    const limited = { ...ended(137), memoryBytes: 64 * MIB };
    expect(conditionOf(limited, { ...NOTHING, outOfMemory: true })).toMatchObject({
      state: "FAILED",
      reason: "OUT_OF_MEMORY",
      message: expect.stringContaining("64 MiB"),
      exitCode: 137,
    });
    // A child of it was killed, and it went on.
    expect(conditionOf(ended(0), { ...NOTHING, outOfMemory: true })).toMatchObject({ state: "STOPPED", reason: "EXITED" });
  });

  it("one that did not start says why: as the engine keeps it, or as it said it then", () => {
    const kept = containerFacts(inspected({ Status: "created", Pid: 0, ExitCode: 127, Error: "no such file" }));
    expect(conditionOf(kept, NOTHING)).toEqual({ state: "FAILED", reason: "FAILED_TO_START", message: "no such file", exitCode: null });
    expect(conditionOf(ended(0), { ...NOTHING, startError: "no such file" })).toMatchObject({ reason: "FAILED_TO_START" });
  });
});

describe("facts of a container", () => {
  it("are read from what the engine says", () => {
    const facts = containerFacts(
      inspected(
        { StartedAt: "2026-01-01T00:00:00.591300877Z" },
        {
          HostConfig: { CpuQuota: 50_000, CpuPeriod: 100_000, Memory: MIB, AutoRemove: true, RestartPolicy: { Name: "always" } },
          Config: {
            Labels: { "fleetgraph.instance": "inst-1", "fleetgraph.node": "node-1", "fleetgraph.generation": "7" },
            StopSignal: "15",
          },
          NetworkSettings: {
            IPAddress: "10.88.0.2",
            GlobalIPv6Address: "",
            Networks: { a: { IPAddress: "10.88.0.2", GlobalIPv6Address: "fd00::2" }, b: { IPAddress: "" }, c: null },
          },
          Mounts: [
            { Type: "bind", Source: "/srv/a", Destination: "/a" },
            { Type: "volume", Source: "/var/lib/x", Destination: "/b" },
          ],
        },
      ),
    );
    expect(facts).toMatchObject({
      name: "inst-1",
      mark: { instanceId: "inst-1", nodeId: "node-1", generation: 7 },
      startedAt: new Date("2026-01-01T00:00:00.591Z"),
      finishedAt: null,
      cpuCores: 0.5,
      memoryBytes: MIB,
      ipAddresses: ["10.88.0.2", "fd00::2"],
      stopSignal: "15",
      restartPolicy: "always",
      autoRemove: true,
      bindSources: ["/srv/a"],
    });
  });

  it("have no limits, no mark and the usual signal where nothing is said", () => {
    const facts = containerFacts(inspected());
    expect(facts).toMatchObject({ mark: null, cpuCores: 0, memoryBytes: 0, ipAddresses: [], stopSignal: "SIGTERM", restartPolicy: "no" });
    expect(containerFacts(inspected({}, { HostConfig: { NanoCpus: 1_500_000_000 } })).cpuCores).toBe(1.5);
  });

  it("tell a start that was interrupted from a container that was never started", () => {
    expect(isHalfStarted({ status: "created", pid: 4711 })).toBe(true);
    expect(isHalfStarted({ status: "created", pid: 0 })).toBe(false);
    expect(isHalfStarted({ status: "running", pid: 4711 })).toBe(false);
  });
});

describe("who stopped it", () => {
  const start = (at: string) => ({ Type: "container", Action: "start", Actor: { ID: "0123456789ab" }, timeNano: Date.parse(at) * 1e6 });

  it("is remembered where the agent did it, until it is started again", async () => {
    const runs = new RunMemory();
    runs.asked("0123456789ab", "DESTROYED");
    expect(await runs.notesOn(ended(137))).toMatchObject({ asked: "DESTROYED" });
    // The event of an earlier start, which comes late.
    runs.onEvent(start("2026-01-01T00:00:00Z"));
    expect(await runs.notesOn(ended(137))).toMatchObject({ asked: "DESTROYED" });
    runs.onEvent(start("2100-01-01T00:00:00Z"));
    expect(await runs.notesOn(ended(137))).toMatchObject({ asked: null });
    runs.asked("0123456789ab", "REQUESTED");
    runs.started("0123456789ab");
    expect(await runs.notesOn(ended(137))).toMatchObject({ asked: null });
  });

  it("means nothing for a run that began since", async () => {
    const runs = new RunMemory();
    runs.asked("0123456789ab", "REQUESTED");
    expect(await runs.notesOn(ended(137, { StartedAt: "2100-01-01T00:00:00Z" }))).toMatchObject({ asked: null });
  });

  it("is somebody else where it was a signal that nothing sends itself", () => {
    expect(conditionOf(ended(143), NOTHING)).toEqual({
      state: "STOPPED",
      reason: "DESTROYED",
      message: "Ended by SIGTERM.",
      exitCode: 143,
    });
    expect(conditionOf(ended(137), NOTHING)).toMatchObject({ state: "STOPPED", reason: "DESTROYED" });
    for (const stopSignal of ["SIGQUIT", "QUIT", "3"]) {
      expect(conditionOf({ ...ended(131), stopSignal }, NOTHING)).toMatchObject({ state: "STOPPED", message: "Ended by SIGQUIT." });
    }
    expect(conditionOf(ended(131), NOTHING)).toMatchObject({ state: "FAILED", reason: "EXITED" });
  });

  it("is the kernel where the engine heard of it", async () => {
    expect(await new RunMemory().notesOn(ended(137, { OOMKilled: true }))).toMatchObject({ outOfMemory: true });
  });
});

describe("the kernel's log", () => {
  const record = (text: string, atUs = 5_000_000) => `3,1041,${atUs},-;${text}\n`;
  const killed = "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),task_memcg=/libpod_parent/libpod-0123456789ab,task=tail,pid=1,uid=0";

  it("says which container ran out of memory", () => {
    expect(isOutOfMemory(record(killed), "0123456789ab", 4_000_000)).toBe(true);
  });

  it("means no other container, no earlier run, and not what was written into it by hand", () => {
    expect(isOutOfMemory(record(killed), "ba9876543210", 4_000_000)).toBe(false);
    expect(isOutOfMemory(record(killed, 1_000_000), "0123456789ab", 4_000_000)).toBe(false);
    expect(isOutOfMemory(record(`x ${killed}`), "0123456789ab", 4_000_000)).toBe(false);
    expect(isOutOfMemory("", "0123456789ab", 0)).toBe(false);
  });
});
