import { describe, expect, test } from "vitest";
import { DomainMemory } from "../../../../../agent/drivers/libvirt/domain-memory.ts";
import { conditionOf, isActive } from "../../../../../agent/drivers/libvirt/domain-state.ts";
import { DOMAIN_EVENT_DETAILS, DOMAIN_STATE_REASONS, DOMAIN_STATES, type DomainState } from "../../../../../agent/libvirt/values.ts";

const now = (state: DomainState, reason: string) =>
  conditionOf(DOMAIN_STATES.indexOf(state), (DOMAIN_STATE_REASONS[state] as readonly string[]).indexOf(reason));

test.each([
  ["RUNNING", "BOOTED", "RUNNING STARTED"],
  ["RUNNING", "UNPAUSED", "RUNNING RESUMED"],
  ["PAUSED", "USER", "PAUSED REQUESTED"],
  ["PAUSED", "IOERROR", "FAILED IO_ERROR"],
  ["PAUSED", "CRASHED", "FAILED CRASHED"],
  ["PAUSED", "SHUTTING_DOWN", "STOPPING REQUESTED"],
  ["SHUTDOWN", "USER", "STOPPING GUEST_SHUTDOWN"],
  ["SHUTOFF", "SHUTDOWN", "STOPPED GUEST_SHUTDOWN"],
  ["SHUTOFF", "DESTROYED", "STOPPED DESTROYED"],
  ["SHUTOFF", "CRASHED", "FAILED CRASHED"],
  ["SHUTOFF", "FAILED", "FAILED FAILED_TO_START"],
  ["SHUTOFF", "UNKNOWN", "STOPPED UNKNOWN"],
  ["CRASHED", "PANICKED", "FAILED CRASHED"],
  ["PMSUSPENDED", "UNKNOWN", "PAUSED GUEST_SUSPENDED"],
] as const)("libvirt's %s, %s is %s", (state, reason, expected) => {
  const { state: told, reason: why } = now(state, reason);
  expect(`${told} ${why}`).toBe(expected);
});

test("every state and reason of libvirt's has a word, and those of a later libvirt have one too", () => {
  for (const [state, name] of DOMAIN_STATES.entries()) {
    for (const [reason, word] of DOMAIN_STATE_REASONS[name].entries()) {
      const told = conditionOf(state, reason);
      if (word !== "UNKNOWN" && told.state !== "RUNNING") expect(told.reason, `${name} ${word}`).not.toBe("");
    }
    expect(conditionOf(state, 99).reason).not.toBe("");
  }
  expect(conditionOf(99, 0)).toEqual({ state: "PAUSED", reason: "UNKNOWN" });
});

test("a domain has a process unless it is off or crashed", () => {
  expect(DOMAIN_STATES.filter((_, state) => isActive(state))).toEqual(["RUNNING", "BLOCKED", "PAUSED", "SHUTDOWN", "PMSUSPENDED"]);
});

describe("what events told", () => {
  const dom = { name: "guest", uuid: "u", id: 1 };
  const stopped = (how: string) => ({
    dom,
    event: "STOPPED" as const,
    detail: (DOMAIN_EVENT_DETAILS.STOPPED as readonly string[]).indexOf(how),
  });
  const started = { dom, event: "STARTED" as const, detail: 0 };

  test("gives the reason of a stop after libvirt's daemon forgot it", () => {
    const memory = new DomainMemory();
    memory.onLifecycle(started);
    memory.onLifecycle(stopped("FAILED"));
    expect(memory.tell("u", now("SHUTOFF", "CRASHED"))).toMatchObject({ state: "FAILED", reason: "CRASHED" });
    expect(memory.tell("u", now("SHUTOFF", "UNKNOWN"))).toMatchObject({ state: "FAILED", reason: "CRASHED" });
    expect(memory.tell("other", now("SHUTOFF", "UNKNOWN"))).toMatchObject({ state: "STOPPED", reason: "UNKNOWN" });
  });

  test("tells a stop that the agent asked for from one of the guest's own", () => {
    const memory = new DomainMemory();
    memory.onLifecycle(started);
    memory.onStopRequested("u");
    memory.onLifecycle(stopped("SHUTDOWN"));
    expect(memory.tell("u", now("SHUTOFF", "SHUTDOWN"))).toMatchObject({ state: "STOPPED", reason: "REQUESTED" });
    memory.onLifecycle(started);
    memory.onLifecycle(stopped("SHUTDOWN"));
    expect(memory.tell("u", now("SHUTOFF", "SHUTDOWN"))).toMatchObject({ state: "STOPPED", reason: "GUEST_SHUTDOWN" });
  });

  test("keeps a crash a crash, also while a stop is asked for", () => {
    const memory = new DomainMemory();
    memory.onStopRequested("u");
    memory.onLifecycle(stopped("CRASHED"));
    expect(memory.tell("u", now("SHUTOFF", "CRASHED"))).toMatchObject({ state: "FAILED", reason: "CRASHED" });
  });

  test("says which disk made the guest stand still, until it goes on", () => {
    const memory = new DomainMemory();
    memory.onIoError({ dom, srcPath: "/i/inst-1.root.qcow2", devAlias: "virtio-disk0", action: "PAUSE", reason: "enospc" });
    const told = memory.tell("u", now("PAUSED", "IOERROR"));
    expect(told).toMatchObject({ state: "FAILED", reason: "IO_ERROR" });
    expect(told.message).toContain("inst-1.root.qcow2");
    expect(told.message).toContain("no space left");
    expect(told.message).not.toContain("/i/");
    memory.onLifecycle({ dom, event: "RESUMED", detail: 0 });
    expect(memory.tell("u", now("PAUSED", "IOERROR")).message).toBe("");
  });

  test("keeps why a start failed, and when the run began", () => {
    const memory = new DomainMemory();
    memory.onStartFailed("u", "no memory");
    expect(memory.tell("u", now("SHUTOFF", "FAILED"))).toEqual({ state: "FAILED", reason: "FAILED_TO_START", message: "no memory" });
    expect(memory.startedAt("u")).toBe(null);
    memory.onLifecycle(started);
    expect(memory.startedAt("u")).toBeInstanceOf(Date);
    expect(memory.tell("u", now("RUNNING", "BOOTED")).message).toBe("");
  });

  test("is forgotten with the domain", () => {
    const memory = new DomainMemory();
    memory.onLifecycle(stopped("CRASHED"));
    memory.keep(new Set(["v"]));
    expect(memory.tell("u", now("SHUTOFF", "UNKNOWN")).reason).toBe("UNKNOWN");
  });
});
