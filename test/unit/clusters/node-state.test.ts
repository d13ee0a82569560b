import { describe, expect, test } from "vitest";
import { ClockSkews } from "../../../subgraphs/clusters/services/clock-skew.ts";
import {
  applyAdmission,
  applyByHand,
  applyDeregistration,
  applyHeartbeat,
  applyLeaseExpiry,
  heartbeatNews,
  lastHeartbeatOf,
  type NodeState,
} from "../../../subgraphs/clusters/services/node-state.ts";
import type { ConditionReport, Heartbeat, NodeStatus } from "../../../subgraphs/clusters/services/node-types.ts";

const at = (second: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, second));

function registered(): NodeState {
  return { status: "PENDING", conditions: [], allocated: null, reported: null, statusByHand: null, lease: "none", leaseExpiredAt: null };
}

function beat(status: NodeStatus, rest: Partial<Heartbeat> = {}): Heartbeat {
  return { nodeId: "node-1", status, conditions: [], allocated: null, acknowledgedCommandIds: [], sentAt: null, ...rest };
}

function condition(type: string, status: ConditionReport["status"], reason = "Because", message = ""): ConditionReport {
  return { type, status, reason, message };
}

const ready = (state: NodeState) => state.conditions.find(({ type }) => type === "Ready");

describe("heartbeats", () => {
  test("make a PENDING node what they report, with a Ready condition that says so", () => {
    const state = registered();
    applyHeartbeat(state, beat("READY"), at(1));
    expect(state).toMatchObject({ status: "READY", lease: "running" });
    expect(ready(state)).toMatchObject({ status: "True", lastTransitionTime: at(1).toISOString() });
  });

  test("bring no news when they repeat themselves, or leave conditions and allocation out", () => {
    const state = registered();
    const allocated = { cpuCores: 1, memoryBytes: 2, diskBytes: 3, gpuCount: 4 };
    applyHeartbeat(state, beat("READY", { conditions: [condition("DiskPressure", "False")], allocated }), at(1));
    const last = lastHeartbeatOf(state);
    expect(heartbeatNews(last, beat("READY"))).toBeNull();
    expect(heartbeatNews(last, beat("READY", { conditions: [condition("DiskPressure", "False", "Because", "81 % used")] }))).toBeNull();
    expect(heartbeatNews(last, beat("READY", { allocated: { ...allocated } }))).toBeNull();
    expect(heartbeatNews(last, beat("READY", { allocated: { ...allocated, cpuCores: 2 } }))).toMatchObject({ allocated: true });
    expect(heartbeatNews(last, beat("READY", { conditions: [condition("DiskPressure", "True")] }))).toMatchObject({ conditions: true });
    expect(heartbeatNews(last, beat("NOT_READY"))).toMatchObject({ status: true });
  });

  test("keep the time of the last transition while a condition's status stays", () => {
    const state = registered();
    applyHeartbeat(state, beat("READY", { conditions: [condition("DiskPressure", "False", "Enough")] }), at(1));
    applyHeartbeat(state, beat("READY", { conditions: [condition("DiskPressure", "False", "Plenty")] }), at(2));
    expect(state.conditions[1]).toMatchObject({ type: "DiskPressure", reason: "Plenty", lastTransitionTime: at(1).toISOString() });
    applyHeartbeat(state, beat("READY", { conditions: [condition("DiskPressure", "True", "Full")] }), at(3));
    expect(state.conditions[1]).toMatchObject({ status: "True", lastTransitionTime: at(3).toISOString() });
  });

  test("take conditions away that are no longer reported", () => {
    const state = registered();
    applyHeartbeat(state, beat("READY", { conditions: [condition("A", "True"), condition("B", "True")] }), at(1));
    applyHeartbeat(state, beat("READY", { conditions: [condition("B", "True"), condition("C", "True")] }), at(2));
    expect(state.conditions.map(({ type }) => type)).toEqual(["Ready", "B", "C"]);
  });

  test("show the agent's own Ready condition rather than one derived from the status", () => {
    const state = registered();
    applyHeartbeat(state, beat("NOT_READY", { conditions: [condition("Ready", "False", "LibvirtDown")] }), at(1));
    expect(ready(state)).toMatchObject({ status: "False", reason: "LibvirtDown" });
  });
});

describe("a status set by hand", () => {
  test("holds until a heartbeat reports another status than the heartbeat before it", () => {
    const state = registered();
    applyHeartbeat(state, beat("READY"), at(1));
    applyByHand(state, "NOT_READY", [condition("Maintenance", "True")], "ada", at(2));
    expect(ready(state)).toMatchObject({ status: "False", reason: "SetByHand" });
    applyHeartbeat(state, beat("READY"), at(3));
    applyHeartbeat(state, beat("READY", { allocated: { cpuCores: 1, memoryBytes: 1, diskBytes: 1, gpuCount: 0 } }), at(4));
    expect(state.status).toBe("NOT_READY");
    expect(ready(state)).toMatchObject({ reason: "SetByHand" });
    applyHeartbeat(state, beat("NOT_READY"), at(5));
    applyHeartbeat(state, beat("READY"), at(6));
    expect(state).toMatchObject({ status: "READY", statusByHand: null });
    expect(ready(state)).toMatchObject({ status: "True", reason: "Heartbeat" });
  });

  test("gives way to the first heartbeat of a node that never sent one", () => {
    const state = registered();
    applyByHand(state, "READY", [], "ada", at(1));
    applyHeartbeat(state, beat("NOT_READY"), at(2));
    expect(state.status).toBe("NOT_READY");
  });

  test("is there again when a node comes back whose lease had run out", () => {
    const state = registered();
    applyHeartbeat(state, beat("READY"), at(1));
    applyByHand(state, "NOT_READY", [], "ada", at(2));
    applyLeaseExpiry(state, 30, at(32));
    expect(state.status).toBe("UNKNOWN");
    applyHeartbeat(state, beat("READY"), at(40));
    expect(state.status).toBe("NOT_READY");
    expect(ready(state)).toMatchObject({ status: "False", reason: "SetByHand" });
  });
});

describe("a lease that ran out", () => {
  test("shows UNKNOWN with a reason, and the next heartbeat brings everything back", () => {
    const state = registered();
    applyHeartbeat(
      state,
      beat("READY", { conditions: [condition("Ready", "True", "AllWell"), condition("DiskPressure", "False")] }),
      at(1),
    );
    applyLeaseExpiry(state, 30, at(31));
    expect(state).toMatchObject({ status: "UNKNOWN", lease: "expired", leaseExpiredAt: at(31) });
    expect(ready(state)).toMatchObject({ status: "Unknown", reason: "LeaseExpired", message: "No heartbeat for 30 s." });
    expect(heartbeatNews(lastHeartbeatOf(state), beat("READY"))).toMatchObject({ lease: true });
    applyHeartbeat(state, beat("READY"), at(50));
    expect(state).toMatchObject({ status: "READY", lease: "running", leaseExpiredAt: null });
    expect(ready(state)).toMatchObject({ status: "True", reason: "AllWell", lastTransitionTime: at(50).toISOString() });
  });
});

describe("a node that leaves and comes back", () => {
  test("is UNKNOWN while it is out, and as new when it was admitted", () => {
    const state = registered();
    applyHeartbeat(state, beat("READY"), at(1));
    applyDeregistration(state, at(2));
    expect(state).toMatchObject({ status: "UNKNOWN", lease: "none" });
    expect(ready(state)).toMatchObject({ reason: "Deregistered" });
    applyAdmission(state);
    expect(state).toMatchObject({ status: "PENDING", conditions: [], reported: null });
  });
});

describe("clock skew", () => {
  test("is told by two heartbeats in a row that are more than 5 s off, either way", () => {
    for (const sign of [1, -1]) {
      const skews = new ClockSkews();
      expect(skews.observe("a", false, sign * 5_001, 0)).toBeUndefined();
      expect(skews.observe("b", false, sign * 6_000, 0)).toBeUndefined();
      expect(skews.observe("a", false, sign * 6_000, 0)).toBe(sign * 6_000);
      expect(skews.observe("a", true, sign * 6_000, 0)).toBeUndefined();
    }
  });

  test("is not told by one late heartbeat, nor by heartbeats without a time", () => {
    const skews = new ClockSkews();
    for (const [sentAt, receivedAt] of [
      [0, 60_000],
      [60_000, 60_000],
      [0, 60_000],
      [null, 60_000],
    ] as const) {
      expect(skews.observe("a", false, sentAt, receivedAt)).toBeUndefined();
    }
  });

  test("ends below 4 s only, so that it does not flap around 5 s", () => {
    const skews = new ClockSkews();
    for (const off of [4_900, 5_100, 4_500, 4_000, 3_900]) expect(skews.observe("a", true, off, 0)).toBeUndefined();
    expect(skews.observe("a", true, 3_900, 0)).toBeNull();
  });
});
