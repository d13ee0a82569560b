import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { agentService } from "../../../agent/grpc/agent-service.ts";
import { type Inventory, readInventory } from "../../../agent/hardware/inventory.ts";
import type { FleetError } from "../../../platform/errors/fleet-error.ts";
import { HardwareInventory } from "../../../schema/generated/proto/hypervisor/v1/agent.ts";
import { Node, NodeStatus } from "../../../schema/generated/proto/hypervisor/v1/cluster.ts";
import { Store } from "../../../subgraphs/kit/store/orm.ts";
import type { NodesSubgraph } from "../../../subgraphs/nodes/main.ts";
import type { AgentMethods } from "../../support/agent-fleet.ts";
import { type CapturedHost, openCapturedHost } from "../../support/captured-host.ts";
import { NODES_VARIANTS, NodesFleet } from "../../support/nodes-fleet.ts";
import { describeWithPeers } from "../../support/peers.ts";
import { until } from "../../support/until.ts";

const STATIC =
  "cpu { model architecture sockets threads caches { level type sizeBytes instances } } memory { totalBytes } numa { id cpuList distances { nodeId distance } } hugePages { sizeBytes total } virtualization { hardware technology } observedAt";
const VOLATILE = "memory { usedBytes usedPercent } numa { memoryFreeBytes } hugePages { free used }";

async function refusal(call: Promise<unknown>): Promise<string> {
  return call.then(
    () => "answered",
    (error: FleetError) => [error.code, error.reason, error.details["field"]].filter(Boolean).join(" "),
  );
}

for (const variant of NODES_VARIANTS) {
  describeWithPeers(`hardware of nodes, on ${variant.name}`, variant.peers, () => {
    let fleet: NodesFleet;
    let captured: CapturedHost;
    let inventory: Inventory;

    beforeEach(async () => {
      fleet = await NodesFleet.open(variant.name);
      captured = await openCapturedHost("x86-two-sockets-smt");
      inventory = await readInventory(captured.host);
    });

    afterEach(async () => {
      await fleet.close();
      await captured[Symbol.asyncDispose]();
    });

    /** The agent's own service over the captured host, behind a count of its calls. */
    async function countedAgent(agentId = "a1", nodeId = "node-1") {
      const [, methods] = agentService((id) => (id.startsWith(nodeId) ? captured.host : null));
      const real = methods as AgentMethods;
      const count = { calls: 0 };
      const { port, server } = await fleet.agents.serveAgent(agentId, {
        getHardwareUsage: (request, context) => {
          count.calls += 1;
          return real.getHardwareUsage(request, context);
        },
      });
      return { count, port, server };
    }

    async function offer(
      agentId = "a1",
      nodeId = "node-1",
      more: Partial<{ digest: string; hardware: HardwareInventory; observedAt: Date }> = {},
    ) {
      const client = await fleet.inventory(agentId);
      const { wanted } = await client.reportInventory({
        nodeId,
        digest: inventory.digest,
        observedAt: inventory.observedAt,
        hardware: undefined,
        ...more,
      });
      return wanted;
    }

    async function known(subgraph: NodesSubgraph): Promise<void> {
      await until(() => subgraph.ready());
    }

    it("asks for an inventory only where it is new, and shows it", async () => {
      fleet.agents.cluster.set({ id: "node-1", agentId: "a1" });
      const subgraph = await fleet.start();
      await known(subgraph);
      expect(await offer()).toBe(true);
      expect(await offer("a1", "node-1", { hardware: inventory.hardware })).toBe(false);
      expect(await offer()).toBe(false);
      const shown = await fleet.hardware(subgraph, "node-1", `${STATIC} unavailable { field reason }`);
      expect(shown.cpu).toMatchObject({ architecture: "x86_64", sockets: 2, threads: inventory.hardware.cpu?.threads });
      expect(shown.cpu.caches.map(({ type }: { type: string }) => type)).toContain("UNIFIED");
      expect(shown.memory.totalBytes).toBe(inventory.hardware.memory?.totalBytes);
      expect(shown.numa).toHaveLength(2);
      expect(new Date(shown.observedAt).getTime()).toBe(inventory.observedAt.getTime());
    });

    it("reads volatile values only where one is selected, once per node and request", async () => {
      const { count, port } = await countedAgent();
      fleet.agents.cluster.set({ id: "node-1", agentId: "a1", ip: "127.0.0.1", port });
      const subgraph = await fleet.start();
      await known(subgraph);
      await offer("a1", "node-1", { hardware: inventory.hardware });
      await fleet.hardware(subgraph, "node-1", `${STATIC} unavailable { field }`);
      expect(count.calls).toBe(0);
      const twice = await fleet.nodes(
        subgraph,
        ["node-1", "node-1"],
        `a: hardware { ${VOLATILE} } b: hardware { memory { swapUsedBytes } }`,
      );
      expect(twice.errors).toBeUndefined();
      expect(count.calls).toBe(1);
      const hardware = (twice.data as { _entities: Array<{ a: { memory: { usedBytes: number; usedPercent: number } } }> })._entities[0]?.a;
      expect(hardware?.memory.usedBytes).toBeGreaterThan(0);
      expect(hardware?.memory.usedPercent).toBeGreaterThan(0);
      await fleet.hardware(subgraph, "node-1", `memory @skip(if: true) { usedBytes }`);
      expect(count.calls).toBe(1);
    });

    it("makes equal calls of many requests once", async () => {
      const release = Promise.withResolvers<void>();
      let calls = 0;
      const { port } = await fleet.agents.serveAgent("a1", {
        getHardwareUsage: async () => {
          calls += 1;
          await release.promise;
          return { memoryUsedBytes: 5, memoryAvailableBytes: 5, unavailable: [], hugePages: [], numa: [], observedAt: new Date() };
        },
      });
      fleet.agents.cluster.set({ id: "node-1", agentId: "a1", ip: "127.0.0.1", port });
      const subgraph = await fleet.start();
      await known(subgraph);
      const answers = Array.from({ length: 30 }, () => fleet.hardware(subgraph, "node-1", "memory { usedPercent }"));
      await until(() => calls === 1);
      await new Promise((resolve) => setTimeout(resolve, 20));
      release.resolve();
      expect(new Set((await Promise.all(answers)).map((hardware) => hardware.memory.usedPercent))).toEqual(new Set([50]));
      expect(calls).toBe(1);
    });

    it("shows what is stored while the host is down, and says why the rest is not there", async () => {
      const { count, port } = await countedAgent();
      fleet.agents.cluster.set({ id: "node-1", agentId: "a1", ip: "127.0.0.1", port });
      const subgraph = await fleet.start();
      await known(subgraph);
      await offer("a1", "node-1", { hardware: inventory.hardware });
      fleet.agents.cluster.set({ id: "node-1", status: NodeStatus.UNKNOWN });
      await until(async () => {
        const { memory, numa, unavailable } = await fleet.hardware(
          subgraph,
          "node-1",
          "memory { totalBytes usedBytes } numa { cpuList memoryFreeBytes } unavailable { field reason }",
        );
        expect(memory.totalBytes).toBe(inventory.hardware.memory?.totalBytes);
        expect(numa).toHaveLength(2);
        return (
          memory.usedBytes === null &&
          unavailable.some(
            ({ field, reason }: { field: string; reason: string }) => field === "numa.memoryFreeBytes" && reason === "NODE_OFFLINE",
          )
        );
      });
      const before = count.calls;
      await fleet.hardware(subgraph, "node-1", VOLATILE);
      expect(count.calls).toBe(before);
    });

    it("answers for the other nodes when one agent does not", async () => {
      const { port } = await countedAgent();
      const silent = await fleet.agents.serveAgent("a2", { getHardwareUsage: () => new Promise(() => undefined) });
      fleet.agents.cluster.set({ id: "node-1", agentId: "a1", ip: "127.0.0.1", port });
      fleet.agents.cluster.set({ id: "silent", agentId: "a2", ip: "127.0.0.1", port: silent.port });
      fleet.agents.cluster.set({ id: "dead", agentId: "a3", ip: "127.0.0.1", port: 1 });
      fleet.agents.cluster.set({ id: "made-up", agentId: "a4", simulated: true });
      const subgraph = await fleet.start();
      await known(subgraph);
      const { data, errors } = await fleet.nodes(
        subgraph,
        ["node-1", "silent", "dead", "made-up"],
        "hardware { memory { usedBytes } unavailable { field reason message } }",
      );
      expect(errors).toBeUndefined();
      type Row = { id: string; hardware: { memory: { usedBytes: number | null }; unavailable: Array<{ field: string; reason: string }> } };
      const rows = (data as { _entities: Row[] })._entities;
      expect(rows[0]?.hardware.memory.usedBytes).toBeGreaterThan(0);
      const reasons = rows.slice(1).map(({ hardware }) => hardware.unavailable.find(({ field }) => field === "memory.usedBytes")?.reason);
      expect(reasons).toEqual(["AGENT_TIMEOUT", "AGENT_UNREACHABLE", "SIMULATED"]);
      expect(rows[0]?.hardware.unavailable.map(({ reason }) => reason)).toContain("NOT_REPORTED_YET");
    });

    it("is null without an error for a node that does not exist", async () => {
      const subgraph = await fleet.start();
      await known(subgraph);
      expect(await fleet.nodes(subgraph, ["gone"], `hardware { ${STATIC} ${VOLATILE} }`)).toEqual({
        data: { _entities: [{ id: "gone", hardware: null }] },
      });
    });

    it("needs a token", async () => {
      const subgraph = await fleet.start();
      const { errors, data } = await fleet.nodes(subgraph, ["node-1"], "hardware { memory { totalBytes } }", null);
      expect(errors?.[0]?.extensions?.["code"]).toBe("UNAUTHENTICATED");
      expect(data).toEqual({ _entities: [{ id: "node-1", hardware: null }] });
    });

    it("reads a hundred nodes with one query of the database", async () => {
      const ids = Array.from({ length: 100 }, (_, index) => `node-${index}`);
      for (const id of ids) fleet.agents.cluster.set({ id, agentId: "a1" });
      const subgraph = await fleet.start();
      await known(subgraph);
      const client = await fleet.inventory("a1");
      for (const nodeId of ids.slice(0, 20)) {
        await client.reportInventory({ nodeId, digest: inventory.digest, observedAt: inventory.observedAt, hardware: inventory.hardware });
      }
      const reads = vi.spyOn(Store.prototype, "read");
      const { data, errors } = await fleet.nodes(subgraph, ids, "hardware { cpu { threads } observedAt }");
      expect(errors).toBeUndefined();
      expect(reads).toHaveBeenCalledTimes(1);
      reads.mockRestore();
      const rows = (data as { _entities: Array<{ hardware: { observedAt: string | null } }> })._entities;
      expect(rows.filter(({ hardware }) => hardware.observedAt !== null)).toHaveLength(20);
    });

    it("takes an inventory from the node's own agent only", async () => {
      fleet.agents.cluster.set({ id: "node-1", agentId: "a1" });
      const subgraph = await fleet.start({ maxInventoryBytes: 1024 * 1024 });
      await known(subgraph);
      expect(await refusal(offer("a2"))).toBe("FORBIDDEN NotYourNode");
      expect(await refusal(offer("a1", "node-2"))).toBe("NOT_FOUND");
      const control = await fleet.inventory("", fleet.agents.control);
      const request = { nodeId: "node-1", digest: inventory.digest, observedAt: new Date(), hardware: inventory.hardware };
      expect(await refusal(control.reportInventory(request))).toBe("FORBIDDEN");
      const own = await fleet.inventory("a1");
      expect(await refusal(own.reportInventory({ ...request, digest: "abc" }))).toBe("INVALID_ARGUMENT digest");
      expect(await refusal(own.reportInventory({ ...request, observedAt: undefined }))).toBe("INVALID_ARGUMENT observed_at");
      expect(await refusal(own.reportInventory({ ...request, nodeId: "" }))).toBe("INVALID_ARGUMENT node_id");
      const huge = HardwareInventory.fromPartial({ cpu: { model: "x".repeat(1024 * 1024) } });
      expect(await refusal(own.reportInventory({ ...request, hardware: huge }))).toBe("INVALID_ARGUMENT hardware");
    });

    it("takes the report of a node that the watch has not told of yet", async () => {
      const subgraph = await fleet.start();
      await known(subgraph);
      fleet.agents.cluster.nodes.set("late", Node.fromPartial({ id: "late", agentId: "a1" }));
      expect(await offer("a1", "late")).toBe(true);
    });

    it("never replaces an inventory by an older one, whatever comes first", async () => {
      fleet.agents.cluster.set({ id: "node-1", agentId: "a1" });
      const subgraph = await fleet.start();
      await known(subgraph);
      const now = Date.now();
      const version = (model: string, ageMs: number) => ({
        hardware: HardwareInventory.fromPartial({ cpu: { model } }),
        digest: Buffer.from(model).toString("hex").padStart(64, "0"),
        observedAt: new Date(now - ageMs),
      });
      const model = async () => (await fleet.hardware(subgraph, "node-1", "cpu { model }")).cpu.model;
      await Promise.all([3000, 1000, 2000].map((age) => offer("a1", "node-1", version(`m${age}`, age))));
      expect(await model()).toBe("m1000");
      expect(await offer("a1", "node-1", { ...version("m5000", 5000), hardware: undefined as never })).toBe(false);
      // Ahead of our clock: it counts as of now, so that what comes after it is taken.
      await offer("a1", "node-1", version("future", -3_600_000));
      expect(await model()).toBe("future");
      await new Promise((resolve) => setTimeout(resolve, 5));
      await offer("a1", "node-1", { ...version("later", 0), observedAt: new Date() });
      expect(await model()).toBe("later");
    });

    it("drops an inventory when its node is deregistered, also while nobody looked", async () => {
      for (const id of ["node-1", "node-2"]) fleet.agents.cluster.set({ id, agentId: "a1" });
      const first = await fleet.start();
      await known(first);
      for (const id of ["node-1", "node-2"]) await offer("a1", id, { hardware: inventory.hardware });
      fleet.agents.cluster.delete("node-1");
      await until(async () => (await fleet.hardware(first, "node-1", "observedAt")) === null);
      await first.stop(0);
      fleet.agents.cluster.delete("node-2");
      const second = await fleet.start();
      await known(second);
      await until(async () => (await fleet.hardware(second, "node-2", "observedAt")) === null);
      // The node is known again, and nothing is left of what it reported before.
      fleet.agents.cluster.set({ id: "node-2", agentId: "a1" });
      await until(async () => (await fleet.hardware(second, "node-2", "observedAt"))?.observedAt === null);
    });
  });
}
