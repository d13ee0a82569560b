import { afterAll, beforeAll, expect, test } from "vitest";
import { FleetError } from "../../../platform/errors/fleet-error.ts";
import { InstanceType } from "../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { COMPUTE_VARIANTS, ComputeControlPlane, GIB } from "../../support/compute-control-plane.ts";
import { describeWithPeers } from "../../support/peers.ts";
import type { RecordedAgent } from "../../support/recorded-agent.ts";
import { until } from "../../support/until.ts";

const TASK = "task { id kind state error { code reason } }";

for (const variant of COMPUTE_VARIANTS) {
  describeWithPeers(`snapshots, on ${variant.name}`, variant.peers, () => {
    let plane: ComputeControlPlane;
    let agent: RecordedAgent;
    let instanceId: string;

    beforeAll(async () => {
      plane = await ComputeControlPlane.open(variant.name);
      await plane.start();
      agent = await plane.node("node-1");
      instanceId = await create("kept", InstanceType.VM);
    });
    afterAll(() => plane?.[Symbol.asyncDispose]());

    async function create(name: string, type: InstanceType): Promise<string> {
      const spec = { image: "debian", cpuCores: 1, memoryBytes: GIB };
      const client = await plane.client();
      const { id } = await client.createInstance({ name, type, spec, preferredNodeId: "node-1" });
      await plane.untilState(id, "RUNNING");
      return id;
    }
    async function make(more: Record<string, unknown> = {}) {
      const query = `mutation ($input: CreateSnapshotInput!) { createSnapshot(input: $input) { snapshotId ${TASK} instance { id } } }`;
      return (await plane.ask(query, { input: { instanceId, ...more } })).createSnapshot;
    }
    async function ended(taskId: string): Promise<{ state: string; error: { code: string; reason: string } | null }> {
      let task = { state: "", error: null };
      await until(async () => {
        task = (await plane.ask("query ($id: ID!) { task(id: $id) { state error { code reason } } }", { id: taskId })).task;
        return task.state !== "QUEUED" && task.state !== "RUNNING";
      }, "the end of the task");
      return task;
    }
    const listed = async (id = instanceId) => {
      const query =
        "query ($id: ID!) { instance(id: $id) { snapshots { nodes { id name description hasMemory current } unavailable { reason } } } }";
      return (await plane.ask(query, { id })).instance.snapshots;
    };

    test("one is made, seen, gone back to and deleted, each as a task of the instance", async () => {
      const { snapshotId, task, instance } = await make({ name: "before the upgrade", description: "clean", quiesce: "REQUIRED" });
      expect(instance.id).toBe(instanceId);
      expect(task.kind).toBe("SNAPSHOT_CREATE");
      expect(await ended(task.id)).toEqual({ state: "SUCCEEDED", error: null });
      expect(agent.snapshots.created.at(-1)).toMatchObject({
        nodeId: "node-1",
        instanceId,
        generation: 1,
        snapshotId,
        quiesce: "QUIESCE_REQUIRED",
      });
      expect(await listed()).toEqual({
        nodes: [{ id: snapshotId, name: "before the upgrade", description: "clean", hasMemory: true, current: true }],
        unavailable: [],
      });
      const change = async (mutation: string, input: string) => {
        const query = `mutation ($input: ${input}!) { ${mutation}(input: $input) { ${TASK} } }`;
        return (await plane.ask(query, { input: { instanceId, snapshotId } }))[mutation].task.id;
      };
      expect(await ended(await change("revertSnapshot", "RevertSnapshotInput"))).toMatchObject({ state: "SUCCEEDED" });
      expect(agent.snapshots.reverted).toHaveLength(1);
      expect(await ended(await change("deleteSnapshot", "DeleteSnapshotInput"))).toMatchObject({ state: "SUCCEEDED" });
      expect((await listed()).nodes).toEqual([]);
      expect(await ended(await change("revertSnapshot", "RevertSnapshotInput"))).toEqual({
        state: "FAILED",
        error: { code: "NOT_FOUND", reason: null },
      });
    });

    test("a call that is repeated makes one snapshot; another task of the instance is refused meanwhile", async () => {
      const before = agent.snapshots.created.length;
      const gate = Promise.withResolvers<void>();
      agent.snapshots.onCreate = () => gate.promise;
      const first = await make({ clientRequestId: `once-${variant.name}` });
      const again = await make({ clientRequestId: `once-${variant.name}` });
      expect(again.task.id).toBe(first.task.id);
      expect(again.snapshotId).toBe(first.snapshotId);
      await expect(make()).rejects.toThrow("TaskUnderWay");
      gate.resolve();
      expect(await ended(first.task.id)).toMatchObject({ state: "SUCCEEDED" });
      expect(agent.snapshots.created.slice(before).map(({ snapshotId }) => snapshotId)).toEqual([first.snapshotId]);
      agent.snapshots.onCreate = null;
    });

    test("an agent that is away is asked again; what it refuses ends the task with its reason", async () => {
      let tries = 0;
      agent.snapshots.onCreate = async () => {
        tries += 1;
        if (tries === 1) throw new FleetError("UNAVAILABLE", "cut");
      };
      expect(await ended((await make()).task.id)).toMatchObject({ state: "SUCCEEDED" });
      expect(tries).toBe(2);
      agent.snapshots.onCreate = async () => {
        throw new FleetError("FAILED_PRECONDITION", "UEFI", { reason: "SnapshotsUnsupported" });
      };
      expect(await ended((await make()).task.id)).toEqual({
        state: "FAILED",
        error: { code: "FAILED_PRECONDITION", reason: "SnapshotsUnsupported" },
      });
      agent.snapshots.onCreate = null;
    });

    test("containers have none, and what is asked wrongly is refused by name", async () => {
      const container = await create("box", InstanceType.CONTAINER);
      await expect(make({ instanceId: container })).rejects.toThrow("SnapshotsUnsupported");
      expect(await listed(container)).toEqual({ nodes: [], unavailable: [] });
      await expect(make({ instanceId: "inst-nothing" })).rejects.toThrow("NOT_FOUND");
      await expect(make({ name: "x".repeat(254) })).rejects.toThrow("at most 253");
      const mutation = `mutation { createSnapshot(input: { instanceId: "${instanceId}" }) { ${TASK} } }`;
      expect((await plane.execute("viewer", mutation)).errors?.[0]?.extensions?.code).toBe("FORBIDDEN");
      const toDisk = `mutation { suspendInstance(input: { instanceId: "${container}", toDisk: true }) { instance { id } } }`;
      await expect(plane.ask(toDisk)).rejects.toThrow("SuspendToDiskUnsupported");
    });

    test("a suspension to disk is told to the agent as one", async () => {
      await plane.ask(`mutation { suspendInstance(input: { instanceId: "${instanceId}", toDisk: true }) { instance { id } } }`);
      await plane.untilState(instanceId, "SUSPENDED");
      expect(agent.applied.at(-1)).toMatchObject({ instanceId, suspendToDisk: true });
      await plane.ask(`mutation { resumeInstance(input: { instanceId: "${instanceId}" }) { instance { id } } }`);
      await plane.untilState(instanceId, "RUNNING");
    });
  });
}
