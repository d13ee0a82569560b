import "reflect-metadata";
import { mkdir, readFile, rmdir, writeFile } from "node:fs/promises";
import os from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type CommandHandler, CommandRunner } from "../../../agent/control-plane/commands.ts";
import { ControlPlaneConnection } from "../../../agent/control-plane/connection.ts";
import { NodeSession } from "../../../agent/control-plane/node-session.ts";
import { loadCredentials } from "../../../agent/identity/credentials.ts";
import { StateFile } from "../../../agent/identity/state-file.ts";
import { FleetError } from "../../../platform/errors/fleet-error.ts";
import { createGrpcChannel } from "../../../platform/grpc/channel.ts";
import { grpcClient } from "../../../platform/grpc/client.ts";
import { createLogger } from "../../../platform/observability/log.ts";
import { AgentServiceDefinition } from "../../../schema/generated/proto/hypervisor/v1/agent.ts";
import { NodeKind, NodeRole, NodeStatus } from "../../../schema/generated/proto/hypervisor/v1/cluster.ts";
import { AgentControlPlane } from "../../support/agent-control-plane.ts";
import { nearlyEndedCertificate } from "../../support/nearly-ended-certificate.ts";
import { TestAgentHome } from "../../support/test-agent.ts";
import { until } from "../../support/until.ts";

let plane: AgentControlPlane;
let home: TestAgentHome;

beforeEach(async () => {
  plane = await AgentControlPlane.start();
  home = await TestAgentHome.create();
});

afterEach(async () => {
  await home[Symbol.asyncDispose]();
  await plane[Symbol.asyncDispose]();
});

function last<T>(list: readonly T[]): T | undefined {
  return list.at(-1);
}

describe("an agent registers", () => {
  it("with what the machine has, and claims no instance type that it cannot run", async () => {
    const agent = await home.start({ joinToken: plane.createToken(), region: "eu", zone: "a" });
    expect(plane.registrations[0]).toMatchObject({
      hostname: "host-1",
      ip: "127.0.0.1",
      port: agent.port,
      role: NodeRole.WORKER,
      kind: NodeKind.COMPUTE,
      region: "eu",
      zone: "a",
      supportedInstanceTypes: [],
      simulated: false,
    });
    expect(plane.registrations[0]?.capacity).toMatchObject({ cpuCores: os.cpus().length, memoryBytes: os.totalmem() });
    expect(plane.registrations[0]?.capacity?.diskBytes).toBeGreaterThan(0);
  });

  it("with the address of the route to the control plane where it listens on all", async () => {
    await home.start({ joinToken: plane.createToken(), listen: { host: "0.0.0.0", port: 0 } });
    expect(plane.registrations[0]?.ip).toBe("127.0.0.1");
  });

  it("again when its node is not known, and when the control plane comes back", async () => {
    const agent = await home.start({ joinToken: plane.createToken() });
    await until(() => plane.heartbeats.length > 0);
    plane.forgotten.add(agent.nodeIds[0]!);
    await until(() => plane.registrations.length === 2);
    await plane.unlisten();
    await plane.listen();
    await until(() => plane.registrations.length === 3);
    const heartbeats = plane.heartbeats.length;
    await until(() => plane.heartbeats.length > heartbeats);
    expect(plane.registrations.map(({ nodeId }) => nodeId)).toEqual(["", ...agent.nodeIds, ...agent.nodeIds]);
    expect(agent.nodeIds).toHaveLength(1);
  });

  it("again when the host is not what it was registered as", async () => {
    const agent = await home.start({ joinToken: plane.createToken() });
    await agent.stop();
    const credentials = (await loadCredentials(home.stateDir))!;
    const connection = new ControlPlaneConnection(plane.address, credentials.caPem, credentials);
    const log = createLogger({ name: "agent", level: "silent" });
    let memoryBytes = 1024;
    const request = { ...plane.registrations[0]!, nodeId: undefined };
    const session = new NodeSession({
      connection,
      reporter: {
        describe: async () => ({ ...request, capacity: { cpuCores: 1, memoryBytes, diskBytes: 0, gpuCount: 0 } }),
        conditions: async () => [],
        allocated: async () => ({ cpuCores: 0, memoryBytes: 0, diskBytes: 0, gpuCount: 0 }),
        observeClock: () => undefined,
      },
      commands: new CommandRunner(await StateFile.open(home.stateDir), new Map(), log),
      nodeId: agent.nodeIds[0]!,
      onRegistered: async () => undefined,
      log,
      lookEveryMs: 100,
    });
    const stopping = new AbortController();
    const ended = session.run(stopping.signal);
    await session.registered;
    await until(() => plane.heartbeats.length > 3);
    expect(plane.registrations).toHaveLength(2);
    memoryBytes = 2048;
    await until(() => plane.registrations.length === 3);
    stopping.abort();
    await ended;
    connection.close();
    expect(plane.registrations.map(({ capacity }) => capacity?.memoryBytes).slice(1)).toEqual([1024, 2048]);
  });

  it("rarely while it is refused, and gives up its first start", async () => {
    plane.refuseRegistration = new FleetError("ALREADY_EXISTS", "Taken.", { reason: "HostnameTaken", details: { field: "hostname" } });
    await expect(home.start({ joinToken: plane.createToken() })).rejects.toMatchObject({ code: "ALREADY_EXISTS", reason: "HostnameTaken" });
    plane.refuseRegistration = null;
    const agent = await home.start();
    await agent.stop();
    plane.refuseRegistration = new FleetError("FAILED_PRECONDITION", "Deregistered.", { reason: "NodeDeregistered" });
    const before = plane.refusals;
    const refused = await home.start();
    expect(refused.nodeIds).toEqual(agent.nodeIds);
    await new Promise((resolve) => setTimeout(resolve, 2500));
    expect(plane.registrations).toHaveLength(1);
    expect(plane.refusals).toBe(before + 1);
  });
});

describe("an agent's heartbeats", () => {
  it("carry real conditions, its allocation and its clock", async () => {
    await home.start({ joinToken: plane.createToken() });
    await until(() => plane.heartbeats.length >= 2);
    const heartbeat = last(plane.heartbeats)!;
    expect(heartbeat).toMatchObject({ status: NodeStatus.READY, allocated: { cpuCores: 0, memoryBytes: 0, diskBytes: 0, gpuCount: 0 } });
    expect(heartbeat.conditions.map(({ type }) => type)).toEqual([
      "Ready",
      "DiskPressure",
      "MemoryPressure",
      "NetworkUnavailable",
      "ClockSkew",
    ]);
    expect(heartbeat.conditions.find(({ type }) => type === "ClockSkew")?.status).toBe("False");
    expect(Math.abs(heartbeat.sentAt!.getTime() - Date.now())).toBeLessThan(5000);
  });

  it("say so when the clocks are more than 5 s apart", async () => {
    plane.clockOffsetMs = -8000;
    await home.start({ joinToken: plane.createToken() });
    await until(() => last(plane.heartbeats)?.conditions.some(({ type, status }) => type === "ClockSkew" && status === "True") ?? false);
    const skew = last(plane.heartbeats)?.conditions.find(({ type }) => type === "ClockSkew");
    expect(skew?.message).toMatch(/^The host's clock is 8\.0 s ahead of/);
  });

  it("say that the node is not ready while its id cannot be kept on disk, and that it is when it can", async () => {
    const path = join(home.stateDir, "state.json");
    // A directory in its place: no file can be put there.
    plane.beforeJoinAnswer = () => mkdir(path);
    await home.start({ joinToken: plane.createToken() });
    await until(() => last(plane.heartbeats)?.status === NodeStatus.NOT_READY);
    expect(last(plane.heartbeats)?.conditions[0]).toMatchObject({ type: "Ready", status: "False", reason: "StateNotSaved" });
    await rmdir(path);
    await until(() => last(plane.heartbeats)?.status === NodeStatus.READY);
    expect(await readFile(path, "utf8")).toContain("node-");
  });

  it("acknowledge each command, which runs once although it is repeated, also across a restart", async () => {
    const ran: string[] = [];
    const handler: CommandHandler = async (_nodeId, { id, parameters }) => {
      ran.push(`${id} ${parameters.why}`);
      if (id === "command-2") throw new Error("failed");
    };
    const command = (id: string, type = "maintenance") => ({ id, type, parameters: { why: "test" } });
    plane.commands = [command("command-1"), command("command-2"), command("command-3", "unknown")];
    const commands = new Map([["maintenance", handler]]);
    const agent = await home.start({ joinToken: plane.createToken(), commands });
    await until(() => plane.commands.length === 0);
    await agent.stop();
    // As if the acknowledgement had been lost.
    plane.commands = [command("command-1"), command("command-4")];
    await home.start({ commands });
    await until(() => plane.commands.length === 0);
    expect(ran).toEqual(["command-1 test", "command-2 test", "command-4 test"]);
  });
});

describe("an agent's own service", () => {
  async function client(agent: { port: number; agentId: string }, pair: { certificatePem?: string; keyPem?: string }) {
    const tls = { caPem: plane.ca.certificatePem, peerUri: `fleetgraph://agent/${agent.agentId}`, ...pair };
    const channel = createGrpcChannel(`127.0.0.1:${agent.port}`, tls);
    return { usage: grpcClient(AgentServiceDefinition, channel, { defaultDeadlineMs: 3000 }), [Symbol.dispose]: () => channel.close() };
  }

  it("tells the control plane what is in use", async () => {
    const agent = await home.start({ joinToken: plane.createToken() });
    using control = await client(agent, await plane.ca.issueControl("nodes"));
    const usage = await control.usage.getHardwareUsage({ nodeId: agent.nodeIds[0]! });
    expect(usage.memoryUsedBytes! + usage.memoryAvailableBytes!).toBe(os.totalmem());
    expect(Math.abs(usage.observedAt!.getTime() - Date.now())).toBeLessThan(5000);
  });

  it("knows only its own nodes", async () => {
    const agent = await home.start({ joinToken: plane.createToken() });
    using control = await client(agent, await plane.ca.issueControl("nodes"));
    await expect(control.usage.getHardwareUsage({ nodeId: "node-of-another" })).rejects.toMatchObject({
      code: "NOT_FOUND",
      details: { kind: "Node", id: "node-of-another" },
    });
  });

  it("answers neither another agent, nor another CA's control plane, nor anyone without a certificate", async () => {
    const agent = await home.start({ joinToken: plane.createToken() });
    const nodeId = agent.nodeIds[0]!;
    await using other = await TestAgentHome.create();
    await other.start({ joinToken: plane.createToken(), hostname: "host-2" });
    const otherAgent = (await loadCredentials(other.stateDir))!;
    using asAgent = await client(agent, otherAgent);
    await expect(asAgent.usage.getHardwareUsage({ nodeId })).rejects.toMatchObject({ code: "FORBIDDEN" });
    using asNobody = await client(agent, {});
    await expect(asNobody.usage.getHardwareUsage({ nodeId })).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await using foreign = await AgentControlPlane.start();
    using asForeign = await client(agent, await foreign.ca.issueControl("nodes"));
    await expect(asForeign.usage.getHardwareUsage({ nodeId })).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });
});

describe("an agent's certificate", () => {
  it("reports no node of another agent", async () => {
    const agent = await home.start({ joinToken: plane.createToken() });
    await using other = await TestAgentHome.create();
    await other.start({ joinToken: plane.createToken(), hostname: "host-2" });
    const stolen = (await loadCredentials(other.stateDir))!;
    const connection = new ControlPlaneConnection(plane.address, stolen.caPem, stolen);
    const heartbeat = { nodeId: agent.nodeIds[0]!, status: NodeStatus.READY, conditions: [], acknowledgedCommandIds: [] };
    await expect(connection.main.cluster.heartbeat({ ...heartbeat, allocated: undefined, sentAt: undefined })).rejects.toMatchObject({
      code: "FORBIDDEN",
      reason: "NotYourNode",
    });
    connection.close();
  });

  it("is renewed before it ends, and then used for calls and for its own service, on a new key", async () => {
    const first = await home.start({ joinToken: plane.createToken() });
    await first.stop();
    const before = (await loadCredentials(home.stateDir))!;
    const file = join(home.stateDir, "agent.pem");
    const aging = await nearlyEndedCertificate(before.certificatePem, plane.directory);
    await writeFile(file, (await readFile(file, "utf8")).replace(before.certificatePem.trim(), aging.trim()));
    const aged = (await loadCredentials(home.stateDir))!;
    const agent = await home.start();
    await until(() => plane.renewals === 1);
    await until(async () => (await loadCredentials(home.stateDir))?.certificatePem !== aged.certificatePem);
    const renewed = (await loadCredentials(home.stateDir))!;
    expect(renewed.agentId).toBe(before.agentId);
    expect(renewed.keyPem).not.toBe(before.keyPem);
    const heartbeats = plane.heartbeats.length;
    await until(() => plane.heartbeats.length > heartbeats + 1);
    const tls = {
      caPem: plane.ca.certificatePem,
      peerUri: `fleetgraph://agent/${agent.agentId}`,
      ...(await plane.ca.issueControl("nodes")),
    };
    const channel = createGrpcChannel(`127.0.0.1:${agent.port}`, tls);
    await grpcClient(AgentServiceDefinition, channel).getHardwareUsage({ nodeId: agent.nodeIds[0]! });
    channel.close();
    expect(plane.renewals).toBe(1);
  });
});
