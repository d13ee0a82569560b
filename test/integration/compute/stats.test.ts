import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { FleetError } from "../../../platform/errors/fleet-error.ts";
import { NodeStatus } from "../../../schema/generated/proto/hypervisor/v1/cluster.ts";
import { InstanceType } from "../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { graphqlRefusal, refusal } from "../../support/clusters-fleet.ts";
import { type ComputeClient, ComputeControlPlane, GIB } from "../../support/compute-control-plane.ts";
import type { RecordedAgent } from "../../support/recorded-agent.ts";
import { until } from "../../support/until.ts";

const FIELDS = "instanceId cpuUsagePercent cpuTimeNs memoryUsageBytes collectedAt unavailable { field reason }";
const WATCH = `subscription ($id: ID!, $seconds: Int!) { instanceStats(instanceId: $id, intervalSeconds: $seconds) { ${FIELDS} } }`;

interface Sample {
  instanceId: string;
  cpuTimeNs: number | null;
  unavailable: Array<{ field: string; reason: string }>;
}

describe("what instances use", () => {
  let plane: ComputeControlPlane;
  let agent: RecordedAgent;
  let operator: ComputeClient;
  let ids: string[];

  beforeAll(async () => {
    plane = await ComputeControlPlane.open();
    await plane.start();
    agent = await plane.node("node-1");
    operator = await plane.client();
    ids = [await create("second"), await create("third")];
    for (const id of ids) await plane.untilState(id, "RUNNING");
  });
  afterAll(() => plane?.[Symbol.asyncDispose]());

  const create = async (name: string) =>
    (await operator.createInstance({ name, type: InstanceType.VM, spec: { image: "debian", cpuCores: 1, memoryBytes: GIB } })).id;

  async function watch(id: string, seconds = 1) {
    const stream = plane.replica.subgraph.handler.subscribe({
      query: WATCH,
      variables: { id, seconds },
      headers: await plane.headers("viewer"),
    });
    return {
      next: async (): Promise<Sample> => {
        const { value } = await stream.next();
        if (value?.errors)
          throw new FleetError(value.errors[0].extensions.code, value.errors[0].message, { reason: value.errors[0].extensions.reason });
        return value.data.instanceStats as Sample;
      },
      stop: async () => void (await stream.return?.()),
    };
  }

  test("are read for a list in one call per node, as they are now", async () => {
    const before = agent.sampled.length;
    const { instances } = await plane.ask(
      `query ($ids: [ID!]) { instances(filter: { ids: $ids }) { nodes { a: stats { ${FIELDS} } b: stats { cpuTimeNs } } } }`,
      { ids },
    );
    expect(agent.sampled.slice(before)).toEqual([{ nodeId: "node-1", instanceIds: [...ids].sort() }]);
    for (const { a, b } of instances.nodes) {
      expect(a).toMatchObject({ cpuUsagePercent: 12.5, memoryUsageBytes: 1_000, collectedAt: expect.any(String), unavailable: [] });
      expect(b.cpuTimeNs).toBe(a.cpuTimeNs);
    }
    expect(await operator.getInstanceStats({ instanceId: ids[0]! })).toMatchObject({
      instanceId: ids[0],
      networkTxBytes: 5_000,
      memoryCacheBytes: 6_000,
    });
  });

  test("are read once for all who watch, and together with the others of the node", async () => {
    const watches = await Promise.all([watch(ids[0]!), watch(ids[0]!), watch(ids[0]!), watch(ids[1]!)]);
    for (const { next } of watches) await next();
    const before = agent.sampled.length;
    const rounds = 5;
    const seen = await Promise.all(
      watches.map(async ({ next }) => {
        const samples: Sample[] = [];
        for (let round = 0; round < rounds; round += 1) samples.push(await next());
        return samples.map(({ cpuTimeNs }) => cpuTimeNs);
      }),
    );
    // Each reading is a new one; those who watch the same at the same interval see the same.
    for (const readings of seen) expect(new Set(readings).size).toBe(rounds);
    const calls = agent.sampled.slice(before);
    // Not one call names one of them alone, or one of them twice.
    for (const { instanceIds } of calls) expect(instanceIds).toEqual([...ids].sort());
    for (const { stop } of watches) await stop();
    const after = agent.sampled.length;
    const later = performance.now() + 150;
    await until(() => performance.now() > later);
    // Nobody watches: nothing is read.
    expect(agent.sampled.length).toBeLessThanOrEqual(after + 1);
  });

  test("one that does not run has none, and says so; a watch goes on when it runs again, and ends when it is deleted", async () => {
    const id = await create("stopping");
    await plane.untilState(id, "RUNNING");
    const { next } = await watch(id);
    expect((await next()).unavailable).toEqual([]);
    await operator.stopInstance({ instanceId: id });
    await plane.untilState(id, "STOPPED");
    await until(async () => (await next()).unavailable[0]?.reason === "INSTANCE_NOT_RUNNING", "the readings to end");
    expect(await refusal(operator.getInstanceStats({ instanceId: id }))).toMatchObject({
      code: "FAILED_PRECONDITION",
      reason: "InstanceNotRunning",
      details: { instanceId: id, state: "STOPPED" },
    });
    const { instance } = await plane.ask(`query ($id: ID!) { instance(id: $id) { stats { ${FIELDS} } } }`, { id });
    expect(instance.stats).toMatchObject({ cpuUsagePercent: null, memoryUsageBytes: null, collectedAt: null });
    expect(instance.stats.unavailable).toContainEqual({ field: "memoryUsageBytes", reason: "INSTANCE_NOT_RUNNING" });
    await operator.startInstance({ instanceId: id });
    await until(async () => (await next()).unavailable.length === 0, "the readings to go on");
    await operator.deleteInstance({ instanceId: id });
    const ended = await refusal(
      (async () => {
        for (;;) await next();
      })(),
    );
    expect(ended).toMatchObject({ code: "NOT_FOUND", reason: "InstanceDeleted" });
  });

  test("an instance that never was, or is deleted, cannot be watched", async () => {
    const first = async (id: string) => {
      const stream = plane.replica.subgraph.handler.subscribe({
        query: WATCH,
        variables: { id, seconds: 1 },
        headers: await plane.headers("viewer"),
      });
      return graphqlRefusal((await stream.next()).value);
    };
    expect(await first("inst-nowhere")).toMatchObject({ code: "NOT_FOUND", field: "instanceId" });
    const id = await create("short");
    await operator.deleteInstance({ instanceId: id });
    await plane.untilState(id, "DELETED");
    expect(await first(id)).toMatchObject({ code: "NOT_FOUND", reason: "InstanceDeleted" });
  });

  test("a node that is silent is not asked: the readings say why they are null", async () => {
    const other = await plane.node("node-2");
    await operator.createInstance({
      name: "there",
      type: InstanceType.VM,
      spec: { image: "x", cpuCores: 1, memoryBytes: GIB },
      preferredNodeId: "node-2",
    });
    const [there] = (await operator.listInstances({ nodeId: "node-2" })).instances;
    await plane.untilState(there!.id, "RUNNING");
    plane.agents.cluster.set({ id: "node-2", status: NodeStatus.UNKNOWN });
    const both = [ids[0]!, there!.id];
    await until(
      async () =>
        (
          await plane.ask("query ($ids: [ID!]) { instances(filter: { ids: $ids }) { nodes { id stats { unavailable { reason } } } } }", {
            ids: both,
          })
        ).instances.nodes.some(({ stats }: { stats: Sample }) => stats.unavailable[0]?.reason === "NODE_OFFLINE"),
      "the node to be offline",
    );
    const calls = other.sampled.length;
    const { instances } = await plane.ask("query ($ids: [ID!]) { instances(filter: { ids: $ids }) { nodes { id stats { cpuTimeNs } } } }", {
      ids: both,
    });
    const readings = new Map(instances.nodes.map(({ id, stats }: { id: string; stats: Sample }) => [id, stats.cpuTimeNs]));
    expect(readings.get(there!.id)).toBeNull();
    expect(readings.get(ids[0]!)).toBeGreaterThan(0);
    expect(other.sampled.length).toBe(calls);
    expect(await refusal(operator.getInstanceStats({ instanceId: there!.id }))).toMatchObject({
      code: "UNAVAILABLE",
      reason: "NodeOffline",
    });
  });

  test("watches end with DRAINING when the replica stops", async () => {
    const second = await plane.start();
    const stream = second.subgraph.handler.subscribe({
      query: WATCH,
      variables: { id: ids[0], seconds: 60 },
      headers: await plane.headers("viewer"),
    });
    await stream.next();
    const last = stream.next();
    await second.stop();
    expect(graphqlRefusal((await last).value)).toMatchObject({ code: "DRAINING" });
  });
});
