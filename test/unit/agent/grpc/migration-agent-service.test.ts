import { expect, it } from "vitest";
import type { MigrationDriver } from "../../../../agent/drivers/migration-driver.ts";
import { migrationAgentService } from "../../../../agent/grpc/migration-agent-service.ts";
import type { NodeInstances } from "../../../../agent/instances/node-instances.ts";
import type { Identity } from "../../../../platform/auth/identity.ts";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { ChannelPool } from "../../../../platform/grpc/channel-pool.ts";
import { BeginSourceRequest, MigrationProgress, PerformSourceRequest } from "../../../../schema/generated/proto/hypervisor/v1/migration.ts";

const IDS = { nodeId: "node-1", migrationId: "task-1", instanceId: "inst-1", generation: 3 };
const BEGUN = { sourceCookie: "", domainXml: "<domain/>", persistentXml: "<domain/>" };
const PERFORM = PerformSourceRequest.fromPartial({
  ...IDS,
  ...{ destinationAddress: "host-b:50052", destinationPeer: "fleetgraph://agent/b", ticket: "t".repeat(40), destination: "{}" },
});

type Methods = Record<string, (request: unknown, context: { fleet: unknown }) => unknown>;

/** The service of a node with this driver; `turns` tells when the instance is held and when it is free again. */
function serve(driver: Partial<MigrationDriver>) {
  const turns: string[] = [];
  const found = { driver: { migrations: driver } };
  const keeper = {
    holds: () => false,
    exclusively: async (_placement: unknown, work: (found: unknown) => Promise<unknown>) => {
      turns.push("held");
      try {
        return await work(found);
      } finally {
        turns.push("free");
      }
    },
  };
  const instances = { drivers: [found.driver], keeperOf: async () => keeper } as unknown as NodeInstances;
  const [, methods] = migrationAgentService((nodeId) => (nodeId === "node-1" ? instances : null), {} as ChannelPool);
  const identity: Identity = { kind: "control", name: "compute" };
  const context = { fleet: { identity, signal: new AbortController().signal } };
  return { turns, call: (name: string, request: unknown, as: unknown = context) => (methods as Methods)[name]!(request, as as never) };
}

it("holds the instance from the beginning of its migration until its end, once", async () => {
  let end: () => void = () => undefined;
  let begins = 0;
  const { turns, call } = serve({
    begin: async (_request, onEnded) => {
      begins += 1;
      end = onEnded;
      return BEGUN;
    },
  });
  const request = BeginSourceRequest.fromPartial(IDS);
  expect(await call("beginSource", request)).toEqual(BEGUN);
  expect(await call("beginSource", request)).toEqual(BEGUN);
  expect([begins, turns]).toEqual([1, ["held"]]);
  end();
  await new Promise((resolve) => setImmediate(resolve));
  expect(turns).toEqual(["held", "free"]);
});

it("frees the instance where its migration cannot begin", async () => {
  const { turns, call } = serve({ begin: async () => Promise.reject(new FleetError("FAILED_PRECONDITION", "no")) });
  await expect(call("beginSource", BeginSourceRequest.fromPartial(IDS))).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
  expect(turns).toEqual(["held", "free"]);
});

it("tells the latest progress, and the cookie last", async () => {
  const { call } = serve({
    perform: async (_request, _carry, onProgress) => {
      for (const currentBytes of [1, 2, 3]) onProgress(MigrationProgress.fromPartial({ phase: "memory", currentBytes, totalBytes: 9 }));
      await new Promise((resolve) => setImmediate(resolve));
      return "cookie";
    },
  });
  const frames: MigrationProgress[] = [];
  for await (const frame of call("performSource", PERFORM) as AsyncIterable<MigrationProgress>) frames.push(frame);
  expect(frames).toEqual([
    { phase: "memory", currentBytes: 3, totalBytes: 9, cookie: "" },
    { phase: "done", currentBytes: 9, totalBytes: 9, cookie: "cookie" },
  ]);
});

it("passes on why a guest was not copied", async () => {
  const { call } = serve({ perform: async () => Promise.reject(new FleetError("UNAVAILABLE", "cut", { reason: "TunnelBroken" })) });
  const frames = call("performSource", PERFORM) as AsyncIterable<MigrationProgress>;
  await expect(frames[Symbol.asyncIterator]().next()).rejects.toMatchObject({ reason: "TunnelBroken" });
});

it("refuses agents, other nodes and requests that mean nothing", async () => {
  const { call } = serve({});
  const request = BeginSourceRequest.fromPartial(IDS);
  const agent = { fleet: { identity: { kind: "agent", agentId: "a" }, signal: new AbortController().signal } };
  await expect(call("beginSource", request, agent)).rejects.toMatchObject({ code: "FORBIDDEN" });
  await expect(call("beginSource", { ...request, nodeId: "node-2" })).rejects.toMatchObject({ code: "NOT_FOUND" });
  for (const bad of [{ migrationId: "../x" }, { instanceId: "vm" }, { generation: 0 }]) {
    await expect(call("beginSource", { ...request, ...bad })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  }
  for (const bad of [{ ticket: "short" }, { destinationPeer: "fleetgraph://control/x" }, { cookie: "<>" }, { maxDowntimeMs: -1 }]) {
    const frames = call("performSource", { ...PERFORM, ...bad }) as AsyncIterable<MigrationProgress>;
    await expect(frames[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  }
});
