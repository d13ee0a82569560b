import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { NodesFleet } from "../../support/nodes-fleet.ts";
import { until } from "../../support/until.ts";

const USED = "hardware { memory { usedBytes } unavailable { field message } }";

interface Shown {
  hardware: { memory: { usedBytes: number | null }; unavailable: Array<{ field: string; message: string }> };
}

describe("live values of agents that do not answer", () => {
  let fleet: NodesFleet;

  beforeEach(async () => {
    fleet = await NodesFleet.open("SQLite");
  });

  afterEach(() => fleet.close());

  it("are not waited for again until the agent has answered, which is noticed", async () => {
    const release = Promise.withResolvers<void>();
    const { port } = await fleet.agents.serveAgent("a1", {
      getHardwareUsage: async () => {
        await release.promise;
        return { memoryUsedBytes: 5, unavailable: [], hugePages: [], numa: [], observedAt: new Date() };
      },
    });
    for (const id of ["node-1", "node-2"]) fleet.agents.cluster.set({ id, agentId: "a1", ip: "127.0.0.1", port });
    const subgraph = await fleet.start({ agentCalls: { deadlineMs: 30_000 }, liveWaits: { one: 30_000, several: 70, silent: 60 } });
    await until(() => subgraph.ready());
    const ask = async (...ids: string[]) => {
      const { data } = await fleet.nodes(subgraph, ids, USED);
      return (data as { _entities: Shown[] })._entities.map(({ hardware: { memory, unavailable } }) => ({
        used: memory.usedBytes,
        why: unavailable.find(({ field }) => field === "memory.usedBytes")?.message,
      }));
    };
    const late = (ms: number) => ({ used: null, why: `The node's agent did not answer within ${ms} ms.` });
    expect(await ask("node-1", "node-2")).toEqual([late(70), late(70)]);
    expect(await ask("node-1")).toEqual([late(60)]);
    release.resolve();
    await until(async () => (await ask("node-1"))[0]?.used === 5);
  });
});
