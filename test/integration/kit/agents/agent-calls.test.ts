import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import { systemContext } from "../../../../platform/request-context.ts";
import { AgentServiceDefinition, HardwareUsage } from "../../../../schema/generated/proto/hypervisor/v1/agent.ts";
import { NodeStatus } from "../../../../schema/generated/proto/hypervisor/v1/cluster.ts";
import type { AgentCallLimits } from "../../../../subgraphs/kit/agents/agent-calls.ts";
import { AgentFleet, type AgentMethods } from "../../../support/agent-fleet.ts";
import { until } from "../../../support/until.ts";

let fleet: AgentFleet;

beforeEach(async () => {
  fleet = await AgentFleet.open();
});

afterEach(() => fleet.close());

/** An agent that counts its calls, answers when it is let, and sees when a call is cancelled. */
class HeldAgent {
  calls = 0;
  atOnce = 0;
  most = 0;
  cancelled = 0;
  released = Promise.withResolvers<void>();

  readonly methods: AgentMethods = {
    getHardwareUsage: async (_request, { fleet: ctx }) => {
      this.calls += 1;
      this.atOnce += 1;
      this.most = Math.max(this.most, this.atOnce);
      const cancelled = new Promise<void>((resolve) => ctx.signal.addEventListener("abort", () => resolve(), { once: true }));
      await Promise.race([this.released.promise, cancelled]);
      this.atOnce -= 1;
      if (ctx.signal.aborted) this.cancelled += 1;
      return HardwareUsage.fromPartial({ memoryUsedBytes: this.calls, observedAt: new Date() });
    },
  };
}

async function setUp(agent: AgentMethods, limits: Partial<AgentCallLimits> = {}, agentId = "a1") {
  const served = await fleet.serveAgent(agentId, agent);
  fleet.cluster.set({ id: "node-1", agentId: "a1", ip: "127.0.0.1", port: served.port });
  const { address } = await fleet.servePort();
  const directory = fleet.directory(address);
  const calls = fleet.calls(directory, limits);
  const read = (nodeId = "node-1", signal = new AbortController().signal) =>
    calls.read(systemContext("test", signal, fleet.log), nodeId, AgentServiceDefinition, "usage", (client, options) =>
      client.getHardwareUsage({ nodeId }, options),
    );
  const failure = (nodeId?: string) =>
    read(nodeId).then(
      () => "answered",
      (error: unknown) => {
        if (!(error instanceof FleetError)) throw error;
        return `${error.code} ${error.reason ?? ""}`.trim();
      },
    );
  directory.start();
  return { directory, read, failure, served };
}

describe("calls to agents", () => {
  it("makes equal calls once, and asks anew when they are answered", async () => {
    const agent = new HeldAgent();
    const { directory, read } = await setUp(agent.methods);
    await directory.untilSynced();
    const answers = Promise.all(Array.from({ length: 20 }, () => read()));
    await until(() => agent.calls === 1);
    agent.released.resolve();
    expect(new Set((await answers).map(({ memoryUsedBytes }) => memoryUsedBytes))).toEqual(new Set([1]));
    expect((await read()).memoryUsedBytes).toBe(2);
  });

  it("cancels a call only when its last caller has left", async () => {
    const agent = new HeldAgent();
    const { directory, read } = await setUp(agent.methods);
    await directory.untilSynced();
    const callers = [new AbortController(), new AbortController()] as const;
    const outcomes = callers.map((caller) => read("node-1", caller.signal).catch((error: FleetError) => error.message));
    await until(() => agent.calls === 1);
    callers[0].abort(new FleetError("CANCELLED", "first left"));
    expect(await outcomes[0]).toBe("first left");
    expect(agent.cancelled).toBe(0);
    callers[1].abort(new FleetError("CANCELLED", "second left"));
    await until(() => agent.cancelled === 1);
  });

  it("gives up after the deadline, waiting in line included", async () => {
    const agent = new HeldAgent();
    const { directory, failure } = await setUp(agent.methods, { deadlineMs: 150, perAgent: 1 });
    fleet.cluster.set({ ...fleet.cluster.nodes.get("node-1"), id: "node-2", hostname: "node-2" });
    await directory.untilSynced();
    await until(() => directory.get("node-2") !== undefined);
    expect(await Promise.all([failure("node-1"), failure("node-2")])).toEqual(["UNAVAILABLE AgentTimeout", "UNAVAILABLE AgentTimeout"]);
    await until(() => agent.cancelled === agent.calls);
  });

  it("never has more calls open at one agent than it may", async () => {
    const agent = new HeldAgent();
    const { directory, failure } = await setUp(agent.methods, { perAgent: 3 });
    const template = fleet.cluster.nodes.get("node-1");
    for (let index = 2; index <= 12; index += 1) fleet.cluster.set({ ...template, id: `node-${index}`, hostname: `n${index}` });
    await directory.untilSynced();
    await until(() => directory.size === 12);
    const answers = Promise.all(Array.from({ length: 12 }, (_, index) => failure(`node-${index + 1}`)));
    await until(() => agent.calls === 3);
    await delay(30);
    expect(agent.calls).toBe(3);
    agent.released.resolve();
    expect(new Set(await answers)).toEqual(new Set(["answered"]));
    expect(agent.most).toBe(3);
  });

  it("refuses when too many calls wait", async () => {
    const agent = new HeldAgent();
    const { directory, failure } = await setUp(agent.methods, { perAgent: 1, waiting: 1 });
    for (const id of ["node-2", "node-3"]) fleet.cluster.set({ ...fleet.cluster.nodes.get("node-1"), id, hostname: id });
    await directory.untilSynced();
    await until(() => directory.size === 3);
    const first = [failure("node-1"), failure("node-2")];
    await until(() => agent.calls === 1);
    expect(await failure("node-3")).toBe("RESOURCE_EXHAUSTED TooManyCalls");
    agent.released.resolve();
    expect(await Promise.all(first)).toEqual(["answered", "answered"]);
  });

  it("does not call a node whose lease has run out, that is simulated, has no agent or does not exist", async () => {
    const agent = new HeldAgent();
    agent.released.resolve();
    const { directory, failure } = await setUp(agent.methods);
    const base = fleet.cluster.nodes.get("node-1");
    fleet.cluster.set({ ...base, id: "unknown", status: NodeStatus.UNKNOWN });
    fleet.cluster.set({
      ...base,
      id: "expired",
      status: NodeStatus.NOT_READY,
      conditions: [{ type: "Ready", status: "Unknown", reason: "LeaseExpired", message: "", lastTransitionTime: undefined }],
    });
    fleet.cluster.set({ ...base, id: "simulated", simulated: true });
    fleet.cluster.set({ ...base, id: "lonely", agentId: "" });
    fleet.cluster.set({ ...base, id: "nowhere", port: 0 });
    fleet.cluster.set({ ...base, id: "pressed", status: NodeStatus.NOT_READY });
    expect(await failure("missing")).toBe("UNAVAILABLE DirectoryNotReady");
    await directory.untilSynced();
    await until(() => directory.size === 7);
    const refused: string[] = [];
    for (const id of ["unknown", "expired", "simulated", "lonely", "nowhere", "missing"]) refused.push(await failure(id));
    expect(refused).toEqual([
      "UNAVAILABLE NodeOffline",
      "UNAVAILABLE NodeOffline",
      "UNAVAILABLE Simulated",
      "UNAVAILABLE NoAgent",
      "UNAVAILABLE NoAddress",
      "NOT_FOUND",
    ]);
    expect(agent.calls).toBe(0);
    expect(await failure("pressed")).toBe("answered");
  });

  it("does not speak to an agent that shows another agent's certificate", async () => {
    const agent = new HeldAgent();
    agent.released.resolve();
    const { directory, failure } = await setUp(agent.methods, { deadlineMs: 1000 }, "a2");
    await directory.untilSynced();
    expect(await failure()).toMatch(/AgentUnreachable|AgentTimeout/);
    expect(agent.calls).toBe(0);
  });

  it("says that an agent is unreachable when nothing listens, and finds it when it is back", async () => {
    const agent = new HeldAgent();
    agent.released.resolve();
    const { directory, failure, served } = await setUp(agent.methods);
    await directory.untilSynced();
    await served.server.stop(0);
    expect(await failure()).toBe("UNAVAILABLE AgentUnreachable");
    await fleet.serveAgent("a1", agent.methods, served.port);
    await until(async () => (await failure()) === "answered");
  });

  it("passes on what the agent itself refuses", async () => {
    const { directory, failure } = await setUp({
      getHardwareUsage: async () => {
        throw new FleetError("NOT_FOUND", "not mine", { reason: "NotMyNode" });
      },
    });
    await directory.untilSynced();
    expect(await failure()).toBe("NOT_FOUND NotMyNode");
  });
});
