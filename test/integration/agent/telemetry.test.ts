import "reflect-metadata";
import { readFile } from "node:fs/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { LocalHost } from "../../../agent/host/local.ts";
import type { RunningAgent } from "../../../agent/main.ts";
import { FleetError } from "../../../platform/errors/fleet-error.ts";
import { createGrpcChannel } from "../../../platform/grpc/channel.ts";
import { type GrpcClient, grpcClient } from "../../../platform/grpc/client.ts";
import { type NetworkCounters, TelemetryAgentServiceDefinition } from "../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import { AgentControlPlane } from "../../support/agent-control-plane.ts";
import { TestAgentHome } from "../../support/test-agent.ts";

/** This machine, counting how often its counters are read. */
class CountedHost extends LocalHost {
  readings = 0;

  override async read(path: string): Promise<string> {
    if (path === "/proc/net/dev") this.readings += 1;
    return await super.read(path);
  }
}

describe("an agent's telemetry", () => {
  let plane: AgentControlPlane;
  let home: TestAgentHome;
  let host: CountedHost;
  let agent: RunningAgent;
  let nodeId: string;
  let client: GrpcClient<typeof TelemetryAgentServiceDefinition>;
  let close: () => void;

  beforeEach(async () => {
    plane = await AgentControlPlane.start();
    home = await TestAgentHome.create();
    host = new CountedHost();
    agent = await home.start({ joinToken: plane.createToken(), host });
    nodeId = agent.nodeIds[0] ?? "";
    const tls = {
      caPem: plane.ca.certificatePem,
      peerUri: `fleetgraph://agent/${agent.agentId}`,
      ...(await plane.ca.issueControl("nodes")),
    };
    const channel = createGrpcChannel(`127.0.0.1:${agent.port}`, tls);
    client = grpcClient(TelemetryAgentServiceDefinition, channel);
    close = () => channel.close();
  });

  afterEach(async () => {
    close();
    await home[Symbol.asyncDispose]();
    await plane[Symbol.asyncDispose]();
  });

  it("has the counters of every interface, as the kernel counts them", async () => {
    const { interfaces, observedAt, unavailable } = await client.getNetworkCounters({ nodeId });
    const kernel = (await readFile("/proc/net/dev", "utf8")).split("\n").flatMap((line) => /^\s*(\S+):/.exec(line)?.[1] ?? []);
    expect(interfaces.map(({ name }) => name)).toEqual(expect.arrayContaining(kernel.filter((name) => name === "lo")));
    expect(Math.abs(observedAt!.getTime() - Date.now())).toBeLessThan(10_000);
    expect(unavailable).toEqual([]);
  });

  it("streams them with rates, from one reading for all who watch", async () => {
    const watched = await Promise.all([0, 1, 2, 3, 4].map(() => take(3)));
    for (const samples of watched) {
      expect(samples.map(({ interfaces }) => interfaces.map(({ name }) => name))).toEqual([["lo"], ["lo"], ["lo"]]);
      const [first, second, third] = samples;
      expect(first?.interfaces[0]?.rxBytesPerSecond).toBeUndefined();
      expect(second?.interfaces[0]?.rxBytesPerSecond).toBeGreaterThanOrEqual(0);
      // The agent's own answers go over lo.
      expect(third?.interfaces[0]?.rxBytes).toBeGreaterThan(first?.interfaces[0]?.rxBytes ?? 0);
      const rate = (third!.interfaces[0]!.rxBytes - second!.interfaces[0]!.rxBytes) / seconds(second, third);
      expect(third?.interfaces[0]?.rxBytesPerSecond).toBeCloseTo(rate, 3);
    }
    expect(host.readings).toBeLessThan(15);
  });

  it("refuses what is no interval, and nodes that are not its own", async () => {
    const refusal = async (request: { nodeId: string; intervalSeconds: number }) => {
      try {
        for await (const _ of client.watchNetworkCounters({ ...request, interfaces: [] })) return "a sample";
        return "nothing";
      } catch (error) {
        return FleetError.from(error).code;
      }
    };
    expect(await refusal({ nodeId, intervalSeconds: 61 })).toBe("INVALID_ARGUMENT");
    expect(await refusal({ nodeId, intervalSeconds: -1 })).toBe("INVALID_ARGUMENT");
    expect(await refusal({ nodeId: "node-other", intervalSeconds: 1 })).toBe("NOT_FOUND");
  });

  it("has the use of accelerators, and no complaint about vendors' programs that are not here", async () => {
    const { unavailable, observedAt } = await client.getAcceleratorUsage({ nodeId });
    expect(unavailable.map(({ reason }) => reason)).not.toContain("NOT_INSTALLED");
    expect(observedAt).toBeDefined();
  });

  async function take(count: number): Promise<NetworkCounters[]> {
    const samples: NetworkCounters[] = [];
    const ending = new AbortController();
    for await (const sample of client.watchNetworkCounters({ nodeId, intervalSeconds: 1, interfaces: ["lo"] }, { signal: ending.signal })) {
      samples.push(sample);
      if (samples.length === count) break;
    }
    ending.abort();
    return samples;
  }
});

function seconds(from: NetworkCounters | undefined, to: NetworkCounters | undefined): number {
  return (to!.observedAt!.getTime() - from!.observedAt!.getTime()) / 1000;
}
