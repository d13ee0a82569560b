import { describe, expect, test } from "vitest";
import type { FleetError } from "../../../platform/errors/fleet-error.ts";
import { DESIRED_STATES, INSTANCE_STATES, INSTANCE_TYPES, type InstanceState } from "../../../subgraphs/compute/services/instance-types.ts";
import { allowedRequests, applyRequest, type InstanceRecord, rowFor } from "../../../subgraphs/compute/services/state-machine.ts";
import {
  CONDITIONS,
  type Condition,
  INTERRUPTIONS,
  type InstanceRequest,
  REQUESTS,
  STATE_TABLE,
  type StateRow,
} from "../../../subgraphs/compute/services/state-table.ts";

const BASE: InstanceRecord = {
  id: "inst-1",
  state: "RUNNING",
  desiredState: "RUNNING",
  stateReason: "REQUESTED",
  errorMessage: "before",
  activity: "before",
  type: "VM",
  made: true,
  managed: true,
  force: false,
  nodeId: "node-1",
  generation: 1,
  revision: 4,
  appliedRevision: 4,
  restarts: 2,
  stopTimeoutSeconds: 0,
  nativeId: "native-1",
  adoptNativeId: null,
  ipAddresses: [],
  startedAt: null,
  exitCode: null,
  updatedAt: new Date(0),
};

/** What each condition says, written down a second time: a change of the table has to be meant. */
const MAKES: Record<Condition, Partial<InstanceRecord> & { asked?: boolean }> = {
  "it was never made": { made: false },
  "it was made": { made: true },
  "it is not MISSING": { stateReason: "CRASHED" },
  "it is a container": { type: "CONTAINER" },
  "it is being suspended": { desiredState: "SUSPENDED" },
  "it is being deleted": { desiredState: "DELETED" },
  "it is not being deleted": { desiredState: "STOPPED" },
  "by force": { asked: true },
  "force adds nothing": { force: false, asked: false },
};

function recordFor(row: StateRow): { record: InstanceRecord; asked: boolean } {
  const { asked = false, ...facts } = Object.assign({}, ...row.when.map((condition) => MAKES[condition])) as Partial<InstanceRecord> & {
    asked?: boolean;
  };
  return { record: { ...BASE, state: row.from, managed: row.request !== "adopt", ...facts }, asked };
}

function refusal(record: InstanceRecord, request: InstanceRequest, force = false): FleetError {
  try {
    applyRequest(record, request, { force, stopTimeoutSeconds: 0 });
  } catch (error) {
    return error as FleetError;
  }
  throw new Error("It was allowed.");
}

describe("the state table", () => {
  test.each(
    STATE_TABLE.map((row) => ({ ...row, name: `${row.request} in ${row.from}${row.when.map((condition) => `, ${condition}`).join("")}` })),
  )("$name → $to, desired $desired", (row) => {
    const { record, asked } = recordFor(row);
    expect(rowFor(record, row.request, asked)).toMatchObject({ to: row.to, desired: row.desired });
    const before = { ...record };
    const changed = applyRequest(record, row.request, { force: asked, stopTimeoutSeconds: 9 });
    if (row.desired === "nothing") {
      expect(changed).toBe(false);
      expect(record).toEqual(before);
      return;
    }
    expect(changed).toBe(true);
    expect(record).toMatchObject({
      state: row.to === "same" ? row.from : row.to,
      stateReason: "REQUESTED",
      errorMessage: null,
      activity: null,
      revision: 5,
      appliedRevision: 4,
      force: asked,
      stopTimeoutSeconds: 9,
      managed: true,
      restarts: row.request === "restart" ? 3 : 2,
    });
    if (row.desired !== "same" && row.desired !== "observed") expect(record.desiredState).toBe(row.desired);
    if (row.desired === "same") expect(record.desiredState).toBe(before.desiredState);
  });

  test("no row is out of reach behind another", () => {
    for (const row of STATE_TABLE) {
      const { record, asked } = recordFor(row);
      expect(rowFor(record, row.request, asked), JSON.stringify(row)).toBe(row);
    }
  });

  test("every state but DELETED can be deleted, and from every one an end is named", () => {
    for (const state of INSTANCE_STATES) {
      const allowed = allowedRequests({ ...BASE, state });
      if (state === "DELETED") expect(allowed).toEqual([]);
      else expect(allowed).toContain("delete");
    }
  });

  test("whatever has no row is refused, with the state and what may be asked instead, and changes nothing", () => {
    let refused = 0;
    for (const state of INSTANCE_STATES) {
      for (const request of REQUESTS) {
        for (const desiredState of DESIRED_STATES) {
          for (const type of INSTANCE_TYPES) {
            for (const force of [false, true]) {
              const record: InstanceRecord = { ...BASE, state, desiredState, type };
              if (rowFor(record, request, force) !== null) continue;
              const before = { ...record };
              const error = refusal(record, request, force);
              expect(error).toMatchObject({
                code: "FAILED_PRECONDITION",
                details: { instanceId: "inst-1", state, desiredState, allowed: allowedRequests(record) },
              });
              expect(record).toEqual(before);
              refused += 1;
            }
          }
        }
      }
    }
    expect(refused).toBeGreaterThan(100);
  });

  test("an instance that is being deleted takes nothing but its deletion", () => {
    for (const state of ["STOPPING", "ERROR"] satisfies InstanceState[]) {
      const record: InstanceRecord = { ...BASE, state, desiredState: "DELETED" };
      expect(allowedRequests(record)).toEqual(["delete"]);
      expect(refusal({ ...record }, "stop", true)).toMatchObject({ reason: "InstanceBeingDeleted" });
      expect(refusal({ ...record }, "start")).toMatchObject({ reason: "InstanceBeingDeleted" });
    }
  });

  test("force escalates a deletion once, and one that failed is asked for again", () => {
    const record: InstanceRecord = { ...BASE, state: "STOPPING", desiredState: "DELETED" };
    expect(applyRequest(record, "delete", { force: false, stopTimeoutSeconds: 0 })).toBe(false);
    expect(applyRequest(record, "delete", { force: true, stopTimeoutSeconds: 0 })).toBe(true);
    expect(applyRequest(record, "delete", { force: true, stopTimeoutSeconds: 0 })).toBe(false);
    record.state = "ERROR";
    expect(applyRequest(record, "delete", { force: false, stopTimeoutSeconds: 0 })).toBe(true);
    expect(record.state).toBe("STOPPING");
  });

  test("one that is MISSING is not started, and one that is not ours is only adopted", () => {
    expect(refusal({ ...BASE, state: "ERROR", stateReason: "MISSING" }, "start")).toMatchObject({
      reason: "InstanceMissing",
      details: { allowed: ["delete"] },
    });
    const found: InstanceRecord = { ...BASE, managed: false, desiredState: null };
    for (const request of REQUESTS)
      if (request !== "adopt")
        expect(refusal({ ...found }, request)).toMatchObject({ reason: "InstanceUnmanaged", details: { allowed: ["adopt"] } });
    const adopted = { ...found, state: "SUSPENDED" as const };
    applyRequest(adopted, "adopt");
    expect(adopted).toMatchObject({ managed: true, desiredState: "SUSPENDED", adoptNativeId: "native-1", made: true });
    expect(refusal({ ...BASE }, "adopt")).toMatchObject({ reason: "InstanceManaged" });
  });

  test("each change that takes time says what a crash in its middle leads to", () => {
    const underWay = new Set(
      STATE_TABLE.flatMap(({ to, from, desired }) =>
        desired === "same" || desired === "observed" || desired === "nothing" ? [] : [`${to === "same" ? from : to} ${desired}`],
      ),
    );
    const told = new Set(INTERRUPTIONS.map(({ state, desired }) => `${state} ${desired}`));
    for (const change of underWay) expect(told, change).toContain(change);
  });

  test("every condition of the table is one that is used", () => {
    const used = new Set(STATE_TABLE.flatMap(({ when }) => when));
    expect([...used].sort()).toEqual(Object.keys(CONDITIONS).sort());
  });
});
