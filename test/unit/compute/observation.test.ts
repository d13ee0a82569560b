import { describe, expect, test } from "vitest";
import type { DesiredState, InstanceState } from "../../../subgraphs/compute/services/instance-types.ts";
import { foldObservation, type Observation } from "../../../subgraphs/compute/services/observation.ts";
import type { InstanceRecord } from "../../../subgraphs/compute/services/state-machine.ts";

const NOW = new Date("2026-01-01T00:00:10Z");

function record(more: Partial<InstanceRecord> = {}): InstanceRecord {
  return {
    id: "inst-1",
    state: "RUNNING",
    desiredState: "RUNNING",
    stateReason: "REQUESTED",
    errorMessage: null,
    activity: null,
    type: "VM",
    made: true,
    managed: true,
    force: false,
    nodeId: "node-1",
    generation: 2,
    revision: 5,
    appliedRevision: 4,
    restarts: 0,
    stopTimeoutSeconds: 0,
    nativeId: null,
    adoptNativeId: null,
    ipAddresses: [],
    startedAt: null,
    exitCode: null,
    updatedAt: new Date("2026-01-01T00:00:00Z"),
    ...more,
  };
}

function seen(more: Partial<Observation> = {}): Observation {
  return {
    generation: 2,
    revision: 5,
    settled: true,
    state: "RUNNING",
    stateReason: "REQUESTED",
    message: null,
    activity: null,
    ipAddresses: [],
    startedAt: null,
    exitCode: null,
    made: true,
    nativeId: "native-1",
    ...more,
  };
}

/** The record after it. */
function fold(before: Partial<InstanceRecord>, observation: Partial<Observation>): InstanceRecord {
  const after = record(before);
  foldObservation(after, seen(observation), NOW);
  return after;
}

describe("an observation of an instance", () => {
  test("of another placement, or of one that is deleted, is left aside", () => {
    for (const [before, observation] of [
      [{}, { generation: 1 }],
      [{}, { generation: 3 }],
      [{ state: "DELETED", desiredState: "DELETED" }, {}],
    ] as Array<[Partial<InstanceRecord>, Partial<Observation>]>) {
      const after = record(before);
      expect(foldObservation(after, seen({ state: "STOPPED", ipAddresses: ["10.0.0.1"], ...observation }), NOW)).toBe("stale");
      expect(after).toEqual(record(before));
    }
  });

  test("about an older revision tells addresses and existence, but no state", () => {
    const after = fold(
      { state: "STOPPING", desiredState: "STOPPED", made: false },
      { revision: 4, state: "RUNNING", ipAddresses: ["10.0.0.1"], stateReason: "X" },
    );
    expect(after).toMatchObject({
      state: "STOPPING",
      desiredState: "STOPPED",
      stateReason: "REQUESTED",
      made: true,
      nativeId: "native-1",
      ipAddresses: ["10.0.0.1"],
    });
  });

  test("proves that the agent has what it is about; one about nothing, that it has to be told again", () => {
    expect(fold({}, {}).appliedRevision).toBe(5);
    expect(fold({}, { revision: 4 }).appliedRevision).toBe(4);
    expect(fold({ appliedRevision: 5 }, { revision: 3 }).appliedRevision).toBe(5);
    expect(fold({ appliedRevision: 5 }, { revision: 0 }).appliedRevision).toBe(0);
  });

  test("of an agent that is ahead puts what is asked for now behind it, and is taken where nothing is", () => {
    expect(fold({ appliedRevision: 5, state: "RUNNING" }, { revision: 9, state: "STOPPED" })).toMatchObject({
      revision: 9,
      appliedRevision: 9,
      state: "STOPPED",
      desiredState: "STOPPED",
    });
    expect(fold({ appliedRevision: 4, state: "STARTING" }, { revision: 9, state: "STOPPED" })).toMatchObject({
      revision: 10,
      appliedRevision: 4,
      state: "STARTING",
      desiredState: "RUNNING",
    });
    expect(fold({ appliedRevision: 5 }, { revision: Number.MAX_SAFE_INTEGER, state: "RUNNING" }).revision).toBe(5);
  });

  const way: Array<[state: InstanceState, desired: DesiredState, told: InstanceState, settled: boolean, shown: InstanceState]> = [
    ["CREATING", "RUNNING", "CREATING", false, "CREATING"],
    ["CREATING", "RUNNING", "STARTING", false, "STARTING"],
    ["STARTING", "RUNNING", "STOPPED", false, "STARTING"],
    ["STARTING", "RUNNING", "RUNNING", true, "RUNNING"],
    ["CREATING", "STOPPED", "STOPPED", true, "STOPPED"],
    ["STOPPING", "STOPPED", "RUNNING", false, "STOPPING"],
    ["STOPPING", "STOPPED", "STOPPED", false, "STOPPED"],
    ["RESTARTING", "RUNNING", "RUNNING", false, "RESTARTING"],
    ["RESTARTING", "RUNNING", "STOPPED", false, "RESTARTING"],
    ["RESTARTING", "RUNNING", "STARTING", false, "RESTARTING"],
    ["RESTARTING", "RUNNING", "RUNNING", true, "RUNNING"],
    ["RESTARTING", "RUNNING", "ERROR", false, "ERROR"],
    ["RUNNING", "SUSPENDED", "RUNNING", false, "RUNNING"],
    ["RUNNING", "SUSPENDED", "SUSPENDED", true, "SUSPENDED"],
    ["SUSPENDED", "RUNNING", "SUSPENDED", false, "SUSPENDED"],
    ["STOPPING", "DELETED", "RUNNING", false, "STOPPING"],
    ["STOPPING", "DELETED", "STOPPED", true, "STOPPING"],
    ["STOPPING", "DELETED", "ERROR", true, "ERROR"],
    ["ERROR", "DELETED", "STOPPING", false, "STOPPING"],
  ];
  test.each(way)("%s, desired %s, told %s (settled %s) shows %s", (state, desiredState, told, settled, shown) => {
    expect(fold({ state, desiredState }, { state: told, settled }).state).toBe(shown);
  });

  test("that is settled makes a guest's own way, or another hand's, what it is to be from then on", () => {
    expect(fold({}, { state: "STOPPED", stateReason: "GUEST_SHUTDOWN" })).toMatchObject({
      state: "STOPPED",
      desiredState: "STOPPED",
      stateReason: "GUEST_SHUTDOWN",
      revision: 5,
    });
    expect(fold({ state: "STOPPED", desiredState: "STOPPED" }, { state: "RUNNING", stateReason: "CHANGED_OUTSIDE" }).desiredState).toBe(
      "RUNNING",
    );
    expect(fold({}, { state: "SUSPENDED" }).desiredState).toBe("SUSPENDED");
    expect(fold({}, { state: "STOPPED", settled: false }).desiredState).toBe("RUNNING");
  });

  test("of an error ends what was wanted only where nothing runs any more", () => {
    for (const stateReason of ["CRASHED", "EXITED", "MISSING", "OUT_OF_MEMORY"]) {
      expect(fold({}, { state: "ERROR", stateReason, message: "why", exitCode: 3 })).toMatchObject({
        state: "ERROR",
        desiredState: "STOPPED",
        errorMessage: "why",
        exitCode: 3,
      });
    }
    for (const stateReason of ["IO_ERROR", "ImageNotFound"]) expect(fold({}, { state: "ERROR", stateReason }).desiredState).toBe("RUNNING");
  });

  test("that nothing is left finishes a deletion, whatever its revision; without one it is a loss", () => {
    for (const revision of [3, 5]) {
      expect(foldObservation(record({ state: "STOPPING", desiredState: "DELETED" }), seen({ state: "DELETED", revision }), NOW)).toBe(
        "gone",
      );
    }
    expect(fold({ ipAddresses: ["10.0.0.1"] }, { state: "DELETED" })).toMatchObject({
      state: "ERROR",
      stateReason: "MISSING",
      desiredState: "STOPPED",
      ipAddresses: [],
    });
    expect(fold({}, { state: "DELETED", revision: 4 })).toMatchObject({ state: "RUNNING" });
  });

  test("with a state that this version does not know tells only addresses", () => {
    expect(fold({}, { state: null, ipAddresses: ["10.0.0.1"], stateReason: "X" })).toMatchObject({
      state: "RUNNING",
      stateReason: "REQUESTED",
      ipAddresses: ["10.0.0.1"],
    });
  });

  test("of nothing but progress is not stored more often than each second", () => {
    const before = { state: "CREATING", activity: "fetching the image: 10 %" } as const;
    const observation = { state: "CREATING", settled: false, activity: "fetching the image: 11 %" } as const;
    expect(fold({ ...before, updatedAt: new Date(NOW.getTime() - 999) }, observation).activity).toBe("fetching the image: 10 %");
    expect(fold({ ...before, updatedAt: new Date(NOW.getTime() - 1_000) }, observation).activity).toBe("fetching the image: 11 %");
    // That it is over is told at once.
    expect(fold({ ...before, updatedAt: NOW }, { ...observation, activity: null }).activity).toBeNull();
    expect(fold({ ...before, updatedAt: NOW }, { ...observation, state: "STARTING" }).activity).toBe("fetching the image: 11 %");
  });
});
