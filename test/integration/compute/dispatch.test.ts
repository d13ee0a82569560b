import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { FleetError } from "../../../platform/errors/fleet-error.ts";
import { NodeStatus } from "../../../schema/generated/proto/hypervisor/v1/cluster.ts";
import { DesiredState, InstanceState, InstanceType } from "../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { COMPUTE_VARIANTS, type ComputeClient, ComputeControlPlane, GIB } from "../../support/compute-control-plane.ts";
import { describeWithPeers } from "../../support/peers.ts";
import { seededRandom, seedOfRun } from "../../support/random.ts";
import type { RecordedAgent } from "../../support/recorded-agent.ts";
import { until } from "../../support/until.ts";

const VM = { image: "debian", cpuCores: 1, memoryBytes: GIB };

for (const variant of COMPUTE_VARIANTS) {
  describeWithPeers(`telling agents, on ${variant.name}`, variant.peers, () => {
    let plane: ComputeControlPlane;
    let agent: RecordedAgent;
    let operator: ComputeClient;

    let nodeId: string;
    let nodes = 0;

    beforeAll(async () => {
      plane = await ComputeControlPlane.open(variant.name);
      await plane.start();
      operator = await plane.client();
    });
    // A host of its own for each test.
    beforeEach(async () => {
      nodes += 1;
      nodeId = `node-${nodes}`;
      agent = await plane.node(nodeId);
      const query = `{ _entities(representations: [{ __typename: "Node", id: "${nodeId}" }]) { ... on Node { instanceTypes { type } } } }`;
      await until(async () => (await plane.ask(query))._entities[0].instanceTypes !== null, "the first report");
    });
    afterAll(() => plane?.[Symbol.asyncDispose]());

    async function create(name: string): Promise<string> {
      return (await operator.createInstance({ name, type: InstanceType.VM, spec: VM, preferredNodeId: nodeId })).id;
    }
    /** Another process on the same database. */
    async function restart(): Promise<void> {
      await plane.replica.stop();
      await plane.start();
      operator = await plane.client();
    }
    const toldOf = (id: string) => agent.applied.filter(({ instanceId }) => instanceId === id);

    test("an agent that is away is told when it is back: what was asked last, once", async () => {
      const id = await create("waiting");
      await plane.untilState(id, "RUNNING");
      await agent.kill();
      await operator.stopInstance({ instanceId: id });
      await operator.deleteInstance({ instanceId: id });
      expect(await plane.see(id)).toMatchObject({ state: "STOPPING", desiredState: "DELETED" });
      expect((await plane.reservations())[nodeId]!.reserved[0]).toBe(1);
      const before = toldOf(id).length;
      await agent.start();
      await plane.untilState(id, "DELETED");
      expect(
        toldOf(id)
          .slice(before)
          .map(({ revision }) => revision),
      ).toContain(3);
      expect((await plane.reservations())[nodeId]!.reserved[0]).toBe(0);
    });

    test("a node whose lease has run out is not called, and is told at once when it is heard of again", async () => {
      // Without sweeps: what is told is told by the commit, and by the news of the node.
      await plane.replica.stop();
      const dispatch = { deadlineMs: 2_000, perNode: 4, overall: 64, firstPauseMs: 10, longestPauseMs: 50, sweepMs: 3_600_000 };
      await plane.start({ dispatch });
      operator = await plane.client();
      const id = await create("offline");
      await plane.untilState(id, "RUNNING");
      plane.agents.cluster.set({ id: nodeId, status: NodeStatus.UNKNOWN });
      const query = "query ($id: ID!) { instance(id: $id) { stats { unavailable { reason } } } }";
      await until(
        async () => (await plane.ask(query, { id })).instance.stats.unavailable[0]?.reason === "NODE_OFFLINE",
        "the node to be offline",
      );
      await operator.stopInstance({ instanceId: id });
      // What is asked of another node meanwhile is done: whoever wanted to call this one has had the time.
      const other = await plane.node(`${nodeId}-other`);
      const { id: elsewhere } = await operator.createInstance({
        name: "elsewhere",
        type: InstanceType.VM,
        spec: VM,
        preferredNodeId: other.nodeId,
      });
      await plane.untilState(elsewhere, "RUNNING");
      expect(toldOf(id)).toHaveLength(1);
      plane.agents.cluster.set({ id: nodeId, status: NodeStatus.READY });
      await plane.untilState(id, "STOPPED");
      // An agent that does not answer is told by the pauses alone, too.
      await agent.kill();
      await operator.startInstance({ instanceId: id });
      await agent.start();
      await plane.untilState(id, "RUNNING");
      await restart();
    });

    test("a control plane that is stopped right after each commit tells the agent once it is back", async () => {
      const seed = seedOfRun();
      const random = seededRandom(seed);
      agent.onApply = () => {
        // Some calls never get through, some do and their answer is lost.
        if (random() < 0.5) throw new FleetError("UNAVAILABLE", "cut");
      };
      const id = await create("interrupted");
      await restart();
      await plane.untilState(id, "RUNNING");
      await operator.restartInstance({ instanceId: id });
      await restart();
      await plane.untilSeen(
        id,
        ({ state, stateReason }) => state === "RUNNING" && stateReason === "REQUESTED",
        `the restart (seed ${seed})`,
      );
      await until(() => toldOf(id).at(-1)?.restarts === 1, "the restart to be told");
      await operator.stopInstance({ instanceId: id });
      await restart();
      await plane.untilState(id, "STOPPED");
      await operator.deleteInstance({ instanceId: id });
      await restart();
      await plane.untilState(id, "DELETED");
      expect(agent.host.size).toBe(0);
      expect((await plane.reservations())[nodeId]).toEqual({ reserved: [0, 0, 0], sum: [0, 0, 0] });
    });

    test("two replicas that tell the same do no harm", async () => {
      const first = plane.replica;
      // Each sees by its sweep what the other has not told yet.
      await plane.start();
      const ids = await Promise.all(Array.from({ length: 10 }, (_, index) => create(`shared-${index}`)));
      for (const id of ids) await plane.untilState(id, "RUNNING");
      expect(agent.host.size).toBe(10);
      expect(new Set(agent.applied.map(({ instanceId, revision }) => `${instanceId} ${revision}`)).size).toBe(10);
      await first.stop();
      operator = await plane.client();
    });

    test("an agent that lost its disk is told again, and says what is missing; a deletion is finished", async () => {
      const [kept, gone, deleted] = [await create("kept"), await create("gone"), await create("deleted")];
      for (const id of [kept, gone, deleted]) await plane.untilState(id, "RUNNING");
      await agent.kill();
      await operator.deleteInstance({ instanceId: deleted });
      agent.loseDisk();
      agent.host.delete(`native-${gone}`);
      agent.host.delete(`native-${deleted}`);
      await agent.start();
      expect(await plane.untilState(gone, "ERROR")).toMatchObject({ stateReason: "MISSING" });
      await plane.untilState(deleted, "DELETED");
      await until(() => toldOf(kept).length === 2, "the orphan to be taken over");
      expect(toldOf(kept)[1]).toMatchObject({ revision: 1, madeBefore: true, desiredState: DesiredState.RUNNING });
      expect(await plane.see(kept)).toMatchObject({ state: "RUNNING" });
    });

    test("an agent whose disk was restored from a backup is told again what it has forgotten", async () => {
      const id = await create("rolled-back");
      await plane.untilState(id, "RUNNING");
      const restore = agent.backUpDisk();
      await operator.stopInstance({ instanceId: id });
      await plane.untilState(id, "STOPPED");
      await agent.kill();
      restore();
      await agent.start();
      await until(() => toldOf(id).length === 3, "the agent to be told again");
      expect(toldOf(id)[2]).toMatchObject({ revision: 2, desiredState: DesiredState.STOPPED });
      await plane.untilState(id, "STOPPED");
    });

    test("an agent that has seen a higher placement, or a higher revision, than a restored database is caught up with", async () => {
      const id = await create("restored");
      await plane.untilState(id, "RUNNING");
      let times = 0;
      agent.onApply = ({ instanceId }) => {
        times += 1;
        if (instanceId === id && times === 1)
          throw new FleetError("FAILED_PRECONDITION", "replaced", { reason: "StaleGeneration", details: { highestGeneration: 7 } });
      };
      await operator.stopInstance({ instanceId: id });
      expect(await plane.untilState(id, "STOPPED")).toMatchObject({ generation: 8 });

      agent.onApply = null;
      // As if ten more requests had been forgotten.
      await agent.applyInstance({ ...toldOf(id).at(-1)!, revision: 12, desiredState: DesiredState.STOPPED });
      await operator.startInstance({ instanceId: id });
      await plane.untilState(id, "RUNNING");
      expect(toldOf(id).at(-1)).toMatchObject({ revision: 13, desiredState: DesiredState.RUNNING });
    });

    test("what an agent refuses is ERROR, and is told again only with the next request; a deletion all the same", async () => {
      agent.onApply = () => {
        throw new FleetError("INVALID_ARGUMENT", "This agent is too old for that.");
      };
      const id = await create("refused");
      expect(await plane.untilState(id, "ERROR")).toMatchObject({
        stateReason: "REFUSED",
        errorMessage: "This agent is too old for that.",
      });
      await operator.deleteInstance({ instanceId: id });
      await until(
        () => toldOf(id).filter(({ desiredState }) => desiredState === DesiredState.DELETED).length > 2,
        "the deletion to be tried again",
      );
      agent.onApply = null;
      await plane.untilState(id, "DELETED");
    });

    test("an instance that fails does not hold up the others of its node", async () => {
      let broken = "";
      agent.onApply = ({ instanceId, name }) => {
        if (name !== "broken") return;
        broken = instanceId;
        throw new FleetError("INTERNAL", "a fault");
      };
      const id = await create("broken");
      await until(() => toldOf(id).length > 1, "the first failures");
      for (let index = 0; index < 6; index += 1) await plane.untilState(await create(`fine-${index}`), "RUNNING");
      agent.onApply = null;
      await plane.untilState(broken, "RUNNING");
    });

    test("an adoption that the host forbids is undone", async () => {
      agent.found("by-others", { state: InstanceState.RUNNING, cpuCores: 2, memoryBytes: GIB });
      await until(async () => (await operator.listInstances({ managed: false, nodeId })).totalCount === 1, "what others made");
      const [found] = (await operator.listInstances({ managed: false, nodeId })).instances;
      agent.onApply = () => {
        throw new FleetError("FAILED_PRECONDITION", "Adoption is off here.", { reason: "AdoptionForbidden" });
      };
      const admin = await plane.client("admin");
      await admin.adoptInstance({ instanceId: found!.id });
      expect(await plane.untilSeen(found!.id, ({ managed }) => !managed, "the adoption to be undone")).toMatchObject({
        state: "RUNNING",
        desiredState: null,
        errorMessage: "Adoption is off here.",
      });
      expect((await plane.reservations())[nodeId]!.reserved[0]).toBe(0);
      agent.onApply = null;
      agent.host.set("by-others", { nativeId: "by-others", instanceId: "", generation: 0, state: InstanceState.RUNNING });
      expect(await admin.adoptInstance({ instanceId: found!.id })).toMatchObject({
        managed: true,
        desiredState: DesiredState.RUNNING,
        generation: 1,
      });
      await until(() => agent.host.get("by-others")?.instanceId === found!.id, "the agent to take it over");
      expect(toldOf(found!.id).at(-1)).toMatchObject({ adoptNativeId: "by-others", madeBefore: true, desiredState: DesiredState.RUNNING });
      expect((await plane.reservations())[nodeId]).toEqual({ reserved: [2, GIB, 0], sum: [2, GIB, 0] });

      // Deleted in the fleet before its agent touched it: it is its owner's again.
      await operator.deleteInstance({ instanceId: found!.id });
      await plane.untilState(found!.id, "DELETED");
      agent.found("by-others", { state: InstanceState.RUNNING, cpuCores: 2, memoryBytes: GIB });
      await until(
        async () => (await operator.listInstances({ managed: false, nodeId })).totalCount === 1,
        "what others made to be shown again",
      );
    });
  });
}
