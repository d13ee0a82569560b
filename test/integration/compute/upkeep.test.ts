import { afterEach, beforeEach, expect, test } from "vitest";
import { createLogger } from "../../../platform/observability/log.ts";
import { NodeStatus } from "../../../schema/generated/proto/hypervisor/v1/cluster.ts";
import { InstanceState, InstanceType } from "../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { openComputeStore } from "../../../subgraphs/compute/main.ts";
import { refusal } from "../../support/clusters-fleet.ts";
import { COMPUTE_VARIANTS, type ComputeClient, ComputeControlPlane, GIB } from "../../support/compute-control-plane.ts";
import { describeWithPeers } from "../../support/peers.ts";
import type { RecordedAgent } from "../../support/recorded-agent.ts";
import { until } from "../../support/until.ts";

const VM = { image: "debian", cpuCores: 2, memoryBytes: GIB, disks: [{ name: "root", sizeBytes: 4 * GIB, type: "", boot: true }] };

for (const variant of COMPUTE_VARIANTS) {
  describeWithPeers(`what is looked after now and then, on ${variant.name}`, variant.peers, () => {
    let plane: ComputeControlPlane;
    let agent: RecordedAgent;
    let operator: ComputeClient;

    beforeEach(async () => {
      plane = await ComputeControlPlane.open(variant.name);
      await plane.start({ deletedRetentionMs: 0, driftAfterMs: 0 });
      agent = await plane.node("node-1");
      operator = await plane.client();
    });
    afterEach(() => plane?.[Symbol.asyncDispose]());

    async function running(name: string, nodeId = "node-1"): Promise<string> {
      const { id } = await operator.createInstance({ name, type: InstanceType.VM, spec: VM, preferredNodeId: nodeId });
      await plane.untilState(id, "RUNNING");
      return id;
    }
    /** By another hand in the database. */
    async function sql(statement: string): Promise<void> {
      const store = await openComputeStore(plane.databaseUrl, createLogger({ name: "test", level: "silent" }));
      await store.transaction(({ em }) => em.execute(statement));
      await store.close();
    }
    const services = () => plane.replica.subgraph.services;

    test("deleted instances are dropped once they have been kept for long enough; the others stay", async () => {
      const [kept, gone] = [await running("kept"), await running("gone")];
      await operator.deleteInstance({ instanceId: gone });
      await plane.untilState(gone, "DELETED");
      expect((await operator.listInstances({ includeDeleted: true })).totalCount).toBe(2);
      await services().housekeeping.round();
      expect(await refusal(operator.getInstance({ instanceId: gone }))).toMatchObject({ code: "NOT_FOUND" });
      expect((await operator.listInstances({ includeDeleted: true })).instances.map(({ id }) => id)).toEqual([kept]);
    });

    test("a reservation that is not the sum of its node's instances is made so", async () => {
      await running("reserved");
      await sql("update node_reservation set cpu_cores = 99, disk_bytes = 1 where node_id = 'node-1'");
      await sql("insert into node_reservation (node_id, cpu_cores, memory_bytes, disk_bytes, gpu_count) values ('node-old', 5, 5, 5, 0)");
      plane.agents.cluster.set({ id: "node-old" });
      await services().housekeeping.round();
      expect(await plane.reservations()).toEqual({
        "node-1": { reserved: [2, GIB, 4 * GIB], sum: [2, GIB, 4 * GIB] },
        "node-old": { reserved: [0, 0, 0], sum: [0, 0, 0] },
      });
      await sql("delete from node_reservation");
      await services().housekeeping.round();
      expect((await plane.reservations())["node-1"]!.reserved).toEqual([2, GIB, 4 * GIB]);
    });

    test("instances of a node that left stay with the reason NODE_GONE, and are told again when it is back", async () => {
      const [stays, ends] = [await running("stays"), await running("ends")];
      agent.found("theirs", { state: InstanceState.RUNNING, cpuCores: 1, memoryBytes: GIB });
      await until(async () => (await operator.listInstances({ managed: false })).totalCount === 1, "what others made");
      const node = plane.agents.cluster.nodes.get("node-1")!;
      plane.agents.cluster.delete("node-1");
      expect(await plane.untilSeen(stays, ({ stateReason }) => stateReason === "NODE_GONE", "the node to be gone")).toMatchObject({
        state: "RUNNING",
        desiredState: "RUNNING",
      });
      await until(async () => (await operator.listInstances({ managed: false })).totalCount === 0, "what others made to be forgotten");
      await operator.deleteInstance({ instanceId: ends });
      expect(await plane.see(ends)).toMatchObject({ state: "STOPPING", desiredState: "DELETED" });

      plane.agents.cluster.set(node);
      agent.reportAll();
      await plane.untilState(ends, "DELETED");
      await plane.untilSeen(stays, ({ stateReason }) => stateReason === "REQUESTED", "the node's report");
    });

    test("by force an instance of a node that left is deleted at once; what is left of it goes when the host is back", async () => {
      const id = await running("stranded");
      const node = plane.agents.cluster.nodes.get("node-1")!;
      plane.agents.cluster.delete("node-1");
      await plane.untilSeen(id, ({ stateReason }) => stateReason === "NODE_GONE", "the node to be gone");
      await operator.deleteInstance({ instanceId: id, force: true });
      expect(await plane.see(id)).toMatchObject({ state: "DELETED", stateReason: "NODE_GONE" });
      expect(agent.host.size).toBe(1);
      expect((await plane.ask(`{ instance(id: "${id}") { node { id } } }`)).instance.node).toEqual({ id: "node-1" });
      plane.agents.cluster.set(node);
      expect((await plane.reservations())["node-1"]).toEqual({ reserved: [0, 0, 0], sum: [0, 0, 0] });
      // As its agent does once it is let in again: a start with an empty disk, or an old one.
      agent.reportAll();
      await until(() => agent.host.size === 0, "what was left to be removed");
    });

    test("an allocation that differs from what is reserved is a condition of the node, told once, and ended once", async () => {
      await running("measured");
      const says = async (cpuCores: number) => {
        plane.agents.cluster.set({ id: "node-1", allocated: { cpuCores, memoryBytes: GIB, diskBytes: 4 * GIB, gpuCount: 0 } });
        await until(async () => (await plane.reservations()) !== null);
      };
      const rounds = async (calls: number) => {
        await until(async () => {
          await services().drift.round();
          return plane.conditionCalls.length >= calls;
        }, "the condition");
        // Once more, now that the node has it.
        const told = () => plane.agents.cluster.nodes.get("node-1")!.conditions.length > 0;
        await until(told);
        await services().drift.round();
      };
      await says(2);
      await services().drift.round();
      expect(plane.conditionCalls).toEqual([]);

      await says(7);
      await rounds(1);
      expect(plane.conditionCalls[0]).toMatchObject({
        nodeId: "node-1",
        status: NodeStatus.UNSPECIFIED,
        conditions: [{ type: "AllocationDrift", status: "True", reason: "ReservationsDiffer" }],
      });

      await says(2);
      await rounds(2);
      expect(plane.conditionCalls.at(-1)).toMatchObject({
        conditions: [{ type: "AllocationDrift", status: "False", reason: "ReservationsAgree" }],
      });
    });

    test("a resize takes the difference of the node, gives it back, and is refused where there is no room", async () => {
      const id = await running("sized");
      await operator.stopInstance({ instanceId: id });
      await plane.untilState(id, "STOPPED");
      await operator.resizeInstance({ instanceId: id, cpuCores: 5, memoryBytes: 2 * GIB, disks: [{ name: "root", sizeBytes: 8 * GIB }] });
      expect((await plane.reservations())["node-1"]).toEqual({ reserved: [5, 2 * GIB, 8 * GIB], sum: [5, 2 * GIB, 8 * GIB] });
      await operator.resizeInstance({ instanceId: id, cpuCores: 1 });
      expect((await plane.reservations())["node-1"]!.reserved).toEqual([1, 2 * GIB, 8 * GIB]);
      expect(await refusal(operator.resizeInstance({ instanceId: id, memoryBytes: 2_000 * GIB }))).toMatchObject({
        code: "RESOURCE_EXHAUSTED",
        reason: "NoNodeFits",
        details: { nodes: [{ nodeId: "node-1", reason: "InsufficientMemory" }] },
      });
      expect(await refusal(operator.resizeInstance({ instanceId: id, disks: [{ name: "root", sizeBytes: GIB }] }))).toMatchObject({
        code: "FAILED_PRECONDITION",
        reason: "DiskShrink",
      });
      expect(await refusal(operator.resizeInstance({ instanceId: id, disks: [{ name: "data", sizeBytes: GIB }] }))).toMatchObject({
        code: "INVALID_ARGUMENT",
        details: { field: "disks[0].name" },
      });
      expect((await plane.see(id)).spec).toMatchObject({ cpuCores: 1, memoryBytes: 2 * GIB, disks: [{ sizeBytes: 8 * GIB }] });
    });
  });
}
