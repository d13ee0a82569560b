import { describe, expect, it } from "vitest";
import {
  type EvacuatedFacts,
  type EvacuatedItem,
  MAX_TRIES,
  nextStep,
  occupies,
} from "../../../../subgraphs/compute/services/evacuation/evacuation-plan.ts";

const INSTANCE: EvacuatedFacts = {
  nodeId: "node-1",
  state: "RUNNING",
  desiredState: "RUNNING",
  stateReason: "REQUESTED",
  managed: true,
  revision: 4,
  errorMessage: null,
  type: "VM",
  suspendToDisk: false,
};
const ITEM: EvacuatedItem = { nodeId: "node-1", state: "WAITING", tries: 0, stopRevision: null, notBefore: 0 };
const MIGRATE = { mode: "MIGRATE", cancel: false, now: 1_000 } as const;
const STOP = { ...MIGRATE, mode: "STOP" } as const;

const step = (
  item: Partial<EvacuatedItem>,
  instance: Partial<EvacuatedFacts> | null,
  task: object | null = null,
  how: typeof MIGRATE | typeof STOP = MIGRATE,
) => nextStep({ ...ITEM, ...item }, instance && { ...INSTANCE, ...instance }, task as never, how);

describe("an instance that has still to go", () => {
  it("is moved where it runs, and stopped where it can be", () => {
    expect(step({}, {})).toEqual({ to: "begin", how: "MIGRATE" });
    for (const state of ["RUNNING", "STARTING", "RESTARTING", "SUSPENDED"] as const) {
      expect(step({}, { state }, null, STOP)).toEqual({ to: "begin", how: "STOP" });
    }
  });

  it("is waited for while it is on its way, being deleted or between two tries", () => {
    expect(step({}, { state: "CREATING" })).toEqual({ to: "same" });
    expect(step({}, { state: "STOPPING", desiredState: "DELETED" }, null, STOP)).toEqual({ to: "same" });
    expect(step({ notBefore: 1_001 }, {})).toEqual({ to: "same" });
    expect(nextStep(ITEM, INSTANCE, null, { ...MIGRATE, cancel: true })).toEqual({ to: "same" });
  });

  it("is given up where it cannot be moved, or is not ours", () => {
    expect(step({}, { type: "CONTAINER" })).toMatchObject({ to: "GIVEN_UP", reason: "ContainerNotMovable" });
    expect(step({}, { state: "SUSPENDED" })).toMatchObject({ to: "GIVEN_UP", reason: "InstanceSuspended" });
    expect(step({}, { managed: false }, null, STOP)).toMatchObject({ to: "GIVEN_UP", reason: "InstanceUnmanaged" });
  });

  it("is done where nothing of it runs there any more, also after it was given up", () => {
    for (const state of ["WAITING", "GIVEN_UP"] as const) {
      expect(step({ state }, null)).toEqual({ to: "DONE" });
      expect(step({ state }, { state: "STOPPED" })).toEqual({ to: "DONE" });
      expect(step({ state }, { nodeId: "node-2" })).toEqual({ to: "DONE" });
      expect(step({ state }, { state: "SUSPENDED", suspendToDisk: true })).toEqual({ to: "DONE" });
    }
  });
});

describe("an instance that is moved", () => {
  const MOVING = { state: "MOVING", tries: 1 } as const;

  it("is where its task says", () => {
    expect(step(MOVING, {}, { state: "RUNNING" })).toEqual({ to: "same" });
    expect(step(MOVING, { nodeId: "node-2" }, { state: "SUCCEEDED" })).toEqual({ to: "DONE" });
    // It was only being asked for when the control plane stopped.
    expect(step(MOVING, {}, null)).toEqual({ to: "same" });
    expect(step(MOVING, { nodeId: "node-2" }, null)).toEqual({ to: "DONE" });
  });

  it("is tried again as often as that is worth it, then given up with the task's reason", () => {
    const failed = { state: "FAILED", errorReason: "NoRoom", errorMessage: "full" };
    expect(step(MOVING, {}, failed)).toEqual({ to: "WAITING", reason: "NoRoom", message: "full", pause: true });
    expect(step({ ...MOVING, tries: MAX_TRIES }, {}, failed)).toEqual({ to: "GIVEN_UP", reason: "NoRoom", message: "full" });
  });

  it("stays where somebody cancelled its migration", () => {
    expect(step(MOVING, {}, { state: "CANCELLED" })).toMatchObject({ to: "GIVEN_UP", reason: "TaskCancelled" });
    expect(
      nextStep(
        { ...ITEM, ...MOVING },
        INSTANCE,
        { state: "CANCELLED", errorReason: null, errorMessage: null },
        { ...MIGRATE, cancel: true },
      ),
    ).toEqual({ to: "WAITING" });
  });
});

describe("an instance that is stopped", () => {
  const STOPPING = { state: "STOPPING", tries: 1, stopRevision: 4 } as const;

  it("is waited for", () => {
    expect(step(STOPPING, { state: "STOPPING", desiredState: "STOPPED" })).toEqual({ to: "same" });
    expect(step(STOPPING, { state: "STOPPED", desiredState: "STOPPED" })).toEqual({ to: "STOPPED" });
    expect(step(STOPPING, { state: "ERROR", stateReason: "HOST", errorMessage: "no" })).toEqual({
      to: "GIVEN_UP",
      reason: "HOST",
      message: "no",
    });
  });

  it("is stopped again where somebody started it meanwhile, a few times", () => {
    for (const state of ["STOPPED", "DONE"] as const)
      expect(step({ state, tries: 1 }, {})).toMatchObject({ to: "WAITING", reason: "StartedAgain" });
    expect(step(STOPPING, { state: "STARTING", revision: 5 })).toMatchObject({ to: "WAITING" });
    expect(step({ ...STOPPING, tries: MAX_TRIES }, { state: "STARTING", revision: 5 })).toMatchObject({ to: "GIVEN_UP" });
  });

  it("is left alone once it was given back", () => {
    expect(step({ state: "RESTORED" }, {})).toEqual({ to: "same" });
  });
});

it("what is suspended to disk, stopped or broken takes nothing from a host that goes down", () => {
  expect(occupies({ state: "SUSPENDED", suspendToDisk: true })).toBe(false);
  expect(occupies({ state: "SUSPENDED", suspendToDisk: false })).toBe(true);
  expect(occupies({ state: "STOPPED", suspendToDisk: false })).toBe(false);
  expect(occupies({ state: "ERROR", suspendToDisk: false })).toBe(false);
});
