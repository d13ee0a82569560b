import { afterAll, beforeAll, expect, test } from "vitest";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import { grpcService } from "../../../../platform/grpc/server.ts";
import { Metrics } from "../../../../platform/observability/metrics.ts";
import { systemContext } from "../../../../platform/request-context.ts";
import { NodeStatus } from "../../../../schema/generated/proto/hypervisor/v1/cluster.ts";
import { ConsoleAgentServiceDefinition, type ConsoleFrame } from "../../../../schema/generated/proto/hypervisor/v1/consoles.ts";
import { StorageAgentServiceDefinition } from "../../../../schema/generated/proto/hypervisor/v1/storage.ts";
import { AgentCommands } from "../../../../subgraphs/kit/agents/agent-commands.ts";
import { AgentFleet } from "../../../support/agent-fleet.ts";
import { agentKeyPair } from "../../../support/certificates.ts";
import { RecordedConsoles } from "../../../support/recorded-consoles.ts";
import { RecordedStorage } from "../../../support/recorded-storage.ts";
import { until } from "../../../support/until.ts";

let fleet: AgentFleet;
let commands: AgentCommands;
const storage = new RecordedStorage();
/** Streams that the agent has open. */
let open = 0;

beforeAll(async () => {
  fleet = await AgentFleet.open();
  const consoles = new RecordedConsoles();
  const services = [
    storage.service(),
    grpcService(ConsoleAgentServiceDefinition, {
      openConsole: (request) => consoles.openConsole(request),
      listConsoles: (request) => consoles.listConsoles(request),
      writeConsole: (request) => consoles.writeConsole(request),
      resizeConsole: (request) => consoles.resizeConsole(request),
      closeConsole: (request) => consoles.closeConsole(request),
      followConsole: ({ sessionId }, { fleet: ctx }) => follow(sessionId, ctx.signal),
    }),
  ];
  const { port } = await fleet.serveServices(await agentKeyPair(fleet.ca, "a1"), services);
  fleet.cluster.set({ id: "node-1", agentId: "a1", ip: "127.0.0.1", port });
  fleet.cluster.set({ id: "node-off", agentId: "a1", ip: "127.0.0.1", port, status: NodeStatus.UNKNOWN });
  fleet.cluster.set({ id: "node-gone", agentId: "a2", ip: "127.0.0.1", port: 1 });
  const { address } = await fleet.servePort();
  const pool = fleet.pool();
  const directory = fleet.directory(address, pool);
  directory.start();
  await directory.untilSynced();
  commands = new AgentCommands({ directory, pool, metrics: new Metrics() });
});
afterAll(() => fleet?.close());

/** Two frames; then nothing, an end, or a failure, as the session's id says. */
async function* follow(sessionId: string, signal: AbortSignal): AsyncGenerator<ConsoleFrame> {
  open += 1;
  try {
    for (const offset of [0, 1]) yield { offset, data: Buffer.from("x"), skipped: false, session: undefined, message: "" };
    if (sessionId === "fails") throw new FleetError("FAILED_PRECONDITION", "No.", { reason: "ConsoleEnded" });
    if (sessionId === "stands still") await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
  } finally {
    open -= 1;
  }
}

const ctx = (signal = new AbortController().signal) => systemContext("test", signal, fleet.log);
const plug = (nodeId: string, signal?: AbortSignal, deadlineMs = 20_000) =>
  commands.call(ctx(signal), nodeId, StorageAgentServiceDefinition, (client, options) => client.plugDevices({ nodeId }, options), {
    deadlineMs,
  });
const frames = (sessionId: string, signal?: AbortSignal, nodeId = "node-1") =>
  commands.stream(ctx(signal), nodeId, ConsoleAgentServiceDefinition, (client, options) =>
    client.followConsole({ nodeId, sessionId }, options),
  );

test("each call is made for its caller alone", async () => {
  const before = storage.plugged.length;
  await Promise.all([plug("node-1"), plug("node-1"), plug("node-1")]);
  expect(storage.plugged).toHaveLength(before + 3);
});

test("a node that is not to be called, or does not answer, is refused with the reason", async () => {
  await expect(plug("node-none")).rejects.toMatchObject({ code: "NOT_FOUND" });
  await expect(plug("node-off")).rejects.toMatchObject({ code: "UNAVAILABLE", reason: "NodeOffline", details: { nodeId: "node-off" } });
  await expect(plug("node-gone")).rejects.toMatchObject({ code: "UNAVAILABLE", reason: "AgentUnreachable" });
  storage.onPlug = () => new Promise(() => undefined);
  await expect(plug("node-1", undefined, 50)).rejects.toMatchObject({ code: "UNAVAILABLE", reason: "AgentTimeout" });
  const caller = new AbortController();
  const cancelled = plug("node-1", caller.signal);
  caller.abort();
  await expect(cancelled).rejects.toMatchObject({ code: "CANCELLED" });
  storage.onPlug = () => Promise.reject(new FleetError("FAILED_PRECONDITION", "Busy.", { reason: "DeviceBusy" }));
  await expect(plug("node-1")).rejects.toMatchObject({ code: "FAILED_PRECONDITION", reason: "DeviceBusy", message: "Busy." });
  storage.onPlug = null;
});

test("a stream is read to its end, or to its failure", async () => {
  const offsets: number[] = [];
  for await (const { offset } of frames("ends")) offsets.push(offset);
  expect(offsets).toEqual([0, 1]);
  const failing = frames("fails");
  await failing.next();
  await failing.next();
  await expect(failing.next()).rejects.toMatchObject({ reason: "ConsoleEnded" });
  expect(await failing.next()).toEqual({ done: true, value: undefined });
  await expect(frames("ends", undefined, "node-off").next()).rejects.toMatchObject({ reason: "NodeOffline" });
  await until(() => open === 0, "the agent's end of the streams");
});

test("a stream that stands still ends at once when its reader leaves, or its caller goes away", async () => {
  const left = frames("stands still");
  await left.next();
  await left.next();
  const waiting = left.next();
  await left.return?.();
  expect(await waiting).toEqual({ done: true, value: undefined });
  await until(() => open === 0, "the agent to see it");

  const caller = new AbortController();
  const cut = frames("stands still", caller.signal);
  await cut.next();
  await cut.next();
  const pending = cut.next();
  caller.abort();
  await expect(pending).rejects.toMatchObject({ code: "CANCELLED" });
  await until(() => open === 0, "the agent to see it");
});
