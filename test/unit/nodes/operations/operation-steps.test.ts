import { describe, expect, it } from "vitest";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { OperationRecord } from "../../../../subgraphs/nodes/services/operations/operation-types.ts";
import { instance, newOperation, OperatedNode } from "../../../support/operated-node.ts";

const AWAY = new FleetError("UNAVAILABLE", "away", { reason: "AgentUnreachable" });

function withInstances(count: number): OperatedNode {
  const node = new OperatedNode();
  node.instances = Array.from({ length: count }, () => instance());
  return node;
}

describe("a reboot", () => {
  it("stops the instances, waits for the host's next boot and starts them again", async () => {
    const node = withInstances(5);
    const { phases, ...end } = await node.run(newOperation({ instances: "STOP" }));
    expect(end).toMatchObject({ state: "SUCCEEDED", errorCode: null, bootId: "boot-1", progress: { total: 5, done: 5 } });
    expect(phases).toEqual(["PREPARING", "EVACUATING", "GOING_DOWN", "WAITING_FOR_RETURN", "RESTORING"]);
    expect(node).toMatchObject({ boot: 2, powerCycles: 1, node: { maintenance: false, reason: null } });
    expect(node.instances.map(({ state, starts }) => `${state} ${starts}`)).toEqual(Array(5).fill("RUNNING 1"));
  });

  it("leaves a maintenance of before as it was", async () => {
    const node = new OperatedNode();
    node.node = { maintenance: true, reason: "disks" };
    await node.run(newOperation());
    expect(node.node).toEqual({ maintenance: true, reason: "disks" });
  });

  it("leaves a maintenance that somebody set meanwhile", async () => {
    const node = new OperatedNode();
    await node.run(newOperation(), -1, ({ phase }) => {
      if (phase === "WAITING_FOR_RETURN") node.node = { maintenance: true, reason: "kept back" };
    });
    expect(node.node).toEqual({ maintenance: true, reason: "kept back" });
  });

  it("says that the host did not return, and leaves the node in maintenance", async () => {
    const node = new OperatedNode();
    node.manner = "stays away";
    const end = await node.run(newOperation());
    expect(end).toMatchObject({
      state: "FAILED",
      errorCode: "DEADLINE_EXCEEDED",
      errorReason: "DidNotReturn",
      phase: "WAITING_FOR_RETURN",
    });
    expect(end.errorMessage).toContain("10 min");
    expect(node.now - 1_000_000).toBeGreaterThanOrEqual(600_000);
    expect(node.node).toEqual({ maintenance: true, reason: "Reboot (op-1): new kernel" });
  });

  it("says that the host did not go down", async () => {
    const node = new OperatedNode();
    node.manner = "stays up";
    expect(await node.run(newOperation())).toMatchObject({ state: "FAILED", errorReason: "DidNotGoDown" });
  });

  it("is undone where the agent refuses it", async () => {
    const node = withInstances(2);
    node.manner = "refuses";
    const { phases, ...end } = await node.run(newOperation({ instances: "STOP" }));
    expect(end).toMatchObject({ state: "FAILED", errorReason: "PowerNotAllowed" });
    expect(phases.at(-1)).toBe("UNDOING");
    expect(node).toMatchObject({ boot: 1, node: { maintenance: false } });
    expect(node.instances.every(({ state, starts }) => state === "RUNNING" && starts === 1)).toBe(true);
  });

  it("is refused for what was started between the request and the host's end", async () => {
    const node = withInstances(1);
    expect(await node.run(newOperation())).toMatchObject({ state: "FAILED", errorReason: "InstancesRunning" });
    expect(node).toMatchObject({ powerCycles: 0, node: { maintenance: false } });
  });

  it("comes to nothing where an instance can be neither moved nor stopped", async () => {
    const node = withInstances(2);
    node.instances.push(instance({ movable: false }));
    const end = await node.run(newOperation({ instances: "MIGRATE" }));
    expect(end).toMatchObject({ state: "FAILED", errorReason: "EvacuationIncomplete", progress: { done: 2 } });
    expect(node).toMatchObject({ powerCycles: 0, node: { maintenance: false } });
  });
});

describe("a shutdown", () => {
  it("ends when the host has been silent for a while; the node stays in maintenance, what it stopped stays stopped", async () => {
    const node = withInstances(2);
    node.manner = "stays away";
    const { phases, ...end } = await node.run(newOperation({ kind: "SHUTDOWN", instances: "STOP" }));
    expect(end).toMatchObject({ state: "SUCCEEDED" });
    expect(phases.at(-1)).toBe("WAITING_FOR_END");
    expect(node.node).toMatchObject({ maintenance: true });
    expect(node.instances.every(({ state }) => state === "STOPPED")).toBe(true);
  });

  it("has ended, too, where somebody has switched the host on again", async () => {
    const node = new OperatedNode();
    node.awayMs = 1_000;
    expect(await node.run(newOperation({ kind: "SHUTDOWN" }))).toMatchObject({ state: "SUCCEEDED" });
  });

  it("a short silence is not its end", async () => {
    const node = new OperatedNode();
    node.manner = "stays up";
    let asked = 0;
    node.disturb = (method, done) => {
      if (method !== "power" || done) return;
      asked += 1;
      if (asked % 3 === 0) throw AWAY;
    };
    expect(await node.run(newOperation({ kind: "SHUTDOWN" }))).toMatchObject({ state: "FAILED", errorReason: "DidNotGoDown" });
  });
});

describe("disabling with evacuation", () => {
  it("leaves the node in maintenance with the operator's reason", async () => {
    const node = withInstances(3);
    expect(await node.run(newOperation({ kind: "DISABLE", instances: "MIGRATE", maxParallel: 1 }))).toMatchObject({ state: "SUCCEEDED" });
    expect(node.node).toEqual({ maintenance: true, reason: "new kernel" });
    expect(node.instances.every(({ state }) => state === "MOVED")).toBe(true);
  });

  it("stays in maintenance where something cannot leave, or it is cancelled", async () => {
    const stuck = withInstances(1);
    stuck.instances.push(instance({ movable: false }));
    expect(await stuck.run(newOperation({ kind: "DISABLE", instances: "MIGRATE" }))).toMatchObject({ state: "FAILED" });
    expect(stuck.node).toMatchObject({ maintenance: true });
    const cancelled = withInstances(9);
    const cancel = (operation: OperationRecord, step: number) => {
      if (step === 4) operation.cancelRequested = true;
    };
    expect(await cancelled.run(newOperation({ kind: "DISABLE", instances: "STOP" }), -1, cancel)).toMatchObject({ state: "CANCELLED" });
    expect(cancelled.node).toMatchObject({ maintenance: true });
    expect(cancelled.instances.every(({ state }) => state === "RUNNING")).toBe(true);
  });
});

it("a deletion takes the node out of the fleet when nothing runs there", async () => {
  const node = withInstances(3);
  expect(await node.run(newOperation({ kind: "DELETE", instances: "STOP" }))).toMatchObject({ state: "SUCCEEDED", phase: "REMOVING" });
  expect(node).toMatchObject({ removed: 1, node: null });
});

describe("a replica that is killed", () => {
  it.each(["REBOOT", "SHUTDOWN", "DISABLE", "DELETE"] as const)("in any step of %s leads to the same end", async (kind) => {
    const ends = new Set<string>();
    const operation = newOperation({ kind, instances: "STOP" });
    const steps = { count: 0 };
    await withInstances(3).run(operation, -1, (_operation, step) => {
      steps.count = step + 1;
    });
    for (let crashAt = -1; crashAt < steps.count; crashAt += 1) {
      const node = withInstances(3);
      if (kind === "SHUTDOWN") node.manner = "stays away";
      const { state, errorReason, phases } = await node.run(operation, crashAt);
      const what = { state, errorReason, phases, maintenance: node.node, powerCycles: node.powerCycles };
      ends.add(JSON.stringify({ ...what, instances: node.instances.map((one) => `${one.state} ${one.starts}`) }));
    }
    expect(steps.count).toBeGreaterThan(4);
    expect([...ends]).toHaveLength(1);
  });

  it("in any step of what is cancelled leaves the node as it was", async () => {
    for (let cancelAt = 0; cancelAt < 5; cancelAt += 1) {
      for (let crashAt = 0; crashAt < 12; crashAt += 1) {
        const node = withInstances(6);
        const { state } = await node.run(newOperation({ instances: "STOP" }), crashAt, (operation, step) => {
          if (step === cancelAt) operation.cancelRequested = true;
        });
        expect(`${cancelAt} ${crashAt} ${state}`).toBe(`${cancelAt} ${crashAt} CANCELLED`);
        expect(node).toMatchObject({ powerCycles: 0, node: { maintenance: false, reason: null } });
        expect(node.instances.every(({ state: seen }) => seen === "RUNNING")).toBe(true);
      }
    }
  });
});

it("peers that are away now and then, before or after they did what was asked, change nothing", async () => {
  for (let seed = 1; seed <= 40; seed += 1) {
    const node = withInstances(4);
    let state = seed;
    const random = () => {
      state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
      return state / 2 ** 31;
    };
    node.disturb = () => {
      if (random() < 0.25) throw AWAY;
    };
    const end = await node.run(newOperation({ instances: "STOP" }));
    expect(`seed ${seed}: ${end.state} ${end.errorReason}`).toBe(`seed ${seed}: SUCCEEDED null`);
    expect(node).toMatchObject({ powerCycles: 1, node: { maintenance: false, reason: null } });
    expect(node.instances.every((one) => one.state === "RUNNING" && one.starts === 1)).toBe(true);
  }
});

it("a peer that never answers ends it when the phase is over, and what it is waiting for is shown", async () => {
  const node = withInstances(1);
  node.disturb = (method) => {
    if (method === "evacuate" || method === "restore") throw AWAY;
  };
  const seen = new Set<string | null>();
  const end = await node.run(newOperation({ instances: "MIGRATE" }), -1, ({ waitingFor }) => seen.add(waitingFor));
  expect(end).toMatchObject({ state: "FAILED", errorReason: "AgentUnreachable" });
  expect(seen).toContain("away");
});

it("a node that leaves the fleet ends it", async () => {
  const node = new OperatedNode();
  node.node = null;
  expect(await node.run(newOperation())).toMatchObject({ state: "FAILED", errorReason: "NodeGone" });
});
