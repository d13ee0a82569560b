import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, it } from "vitest";
import { createGrpcChannel } from "../../../platform/grpc/channel.ts";
import { grpcClient } from "../../../platform/grpc/client.ts";
import { AgentServiceDefinition } from "../../../schema/generated/proto/hypervisor/v1/agent.ts";
import { AgentControlPlane } from "../../support/agent-control-plane.ts";
import { NetworkNamespace } from "../../support/network-namespace.ts";
import { describeWithPeers } from "../../support/peers.ts";
import { TestAgentHome } from "../../support/test-agent.ts";
import { until } from "../../support/until.ts";

const SCRIPT = fileURLToPath(new URL("../../support/agent-process.ts", import.meta.url));

describeWithPeers("an agent on another host", "network-namespaces", () => {
  let namespace: NetworkNamespace;
  let plane: AgentControlPlane;
  let home: TestAgentHome;
  let child: ChildProcess | null = null;

  beforeEach(async () => {
    namespace = await NetworkNamespace.create(90);
    plane = await AgentControlPlane.start({ host: namespace.hostAddress });
    home = await TestAgentHome.create();
  });

  afterEach(async () => {
    child?.kill("SIGKILL");
    await home[Symbol.asyncDispose]();
    await plane[Symbol.asyncDispose]();
    await namespace.remove();
  });

  it("registers with its own address, comes back after its cable was pulled, and is reached there", async () => {
    const script = [process.execPath, "--no-warnings", "--experimental-transform-types", SCRIPT];
    const [command = "", ...args] = [...namespace.prefix, ...script, home.stateDir, plane.address, plane.createToken(), "0.0.0.0"];
    const agent = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
    child = agent;
    let output = "";
    agent.stdout.on("data", (data) => {
      output += data;
    });
    agent.stderr.on("data", (data) => {
      output += data;
    });
    await until(() => /^up /m.test(output) || agent.exitCode !== null, "the agent", 20_000);
    expect(agent.exitCode, output).toBeNull();
    const [, nodeId = "", agentId] = /^up (\S+) (\S+) /m.exec(output) ?? [];
    expect(plane.registrations[0]?.ip).toBe(namespace.address);
    await until(() => plane.heartbeats.length > 1);

    await namespace.cut();
    // Packets vanish without an answer: the agent finds out by its deadline, and tries anew.
    await until(() => /cannot be reached/.test(output), "the agent to notice", 20_000);
    const heartbeats = plane.heartbeats.length;
    await namespace.mend();
    await until(() => plane.heartbeats.length > heartbeats + 1, "the agent to come back", 30_000);
    expect([...plane.owners]).toEqual([[nodeId, agentId]]);

    const tls = { caPem: plane.ca.certificatePem, peerUri: `fleetgraph://agent/${agentId}`, ...(await plane.ca.issueControl("nodes")) };
    const channel = createGrpcChannel(`${namespace.address}:${plane.registrations.at(-1)?.port}`, tls);
    const usage = await grpcClient(AgentServiceDefinition, channel).getHardwareUsage({ nodeId });
    channel.close();
    expect(usage.memoryUsedBytes).toBeGreaterThan(0);
  });
});
