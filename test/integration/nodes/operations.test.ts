import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { InstanceState, InstanceType } from "../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { graphqlRefusal } from "../../support/clusters-fleet.ts";
import { COMPUTE_VARIANTS, type ComputeClient, ComputeControlPlane, GIB } from "../../support/compute-control-plane.ts";
import { MigrationWorld } from "../../support/migration-world.ts";
import { OperatedFleet } from "../../support/operated-fleet.ts";
import { describeWithPeers } from "../../support/peers.ts";
import type { RecordedAgent } from "../../support/recorded-agent.ts";
import { until } from "../../support/until.ts";

const VM = { image: "debian", cpuCores: 1, memoryBytes: GIB, disks: [{ name: "root", sizeBytes: GIB, type: "", boot: true }] };
const CHECK = "query ($id: ID!, $target: ID) { checkMigration(instanceId: $id, targetNodeId: $target) { checks { name passed } } }";
const NODE =
  "query ($reps: [_Any!]!) { _entities(representations: $reps) { ... on Node { operation { id phase } operations { totalCount nodes { id kind state } } } } }";

for (const variant of COMPUTE_VARIANTS) {
  describeWithPeers(`operations on nodes over ${variant.name}`, variant.peers, () => {
    let plane: ComputeControlPlane;
    let fleet: OperatedFleet;
    let [a, b]: RecordedAgent[] = [];
    let operator: ComputeClient;
    let [nodeA, nodeB] = ["", ""];
    let pairs = 0;

    beforeAll(async () => {
      plane = await ComputeControlPlane.open(variant.name);
      await plane.start();
      fleet = await OperatedFleet.open(plane);
      await fleet.start();
    });
    afterAll(() => plane?.[Symbol.asyncDispose]());
    /** Two nodes of its own for each test, and none but them in the fleet. */
    beforeEach(async () => {
      pairs += 1;
      [nodeA, nodeB] = [`node-a${pairs}`, `node-b${pairs}`];
      const world = new MigrationWorld();
      [a, b] = await Promise.all([plane.node(nodeA, { hostname: "host-a" }), plane.node(nodeB, { hostname: "host-b" })]);
      for (const agent of [a!, b!]) agent.migrations.world = world;
      operator = await plane.client();
      // The subgraph follows the nodes by itself.
      await until(
        async () => (await fleet.change("enableNode", { nodeId: nodeA }, "operator", "restoredInstances")).errors === undefined,
        "the node to be known",
      );
    });
    afterEach(async () => {
      await Promise.all([a?.kill(), b?.kill()]);
      for (const nodeId of [nodeA, nodeB]) plane.agents.cluster.delete(nodeId);
    });

    async function running(): Promise<string> {
      const { id } = await operator.createInstance({ name: "guest", type: InstanceType.VM, spec: VM, preferredNodeId: nodeA });
      await plane.untilState(id, "RUNNING");
      return id;
    }

    const maintenance = () => {
      const { maintenance: isOn, maintenanceReason } = plane.agents.cluster.nodes.get(nodeA)!;
      return isOn ? maintenanceReason : null;
    };

    test("a node is disabled and enabled; nothing is placed there and no migration comes in", async () => {
      const stays = await running();
      const { data } = await fleet.change("disableNode", { nodeId: nodeA, reason: "a new disk" }, "operator");
      expect(data).toEqual({ disableNode: { operation: null } });
      expect(maintenance()).toBe("a new disk");
      const other = await operator.createInstance({ name: "new", type: InstanceType.VM, spec: VM, preferredNodeId: nodeA });
      expect((await plane.untilState(other.id, "RUNNING")).nodeId).toBe(nodeB);
      const { checks } = (await plane.ask(CHECK, { id: other.id, target: nodeA })).checkMigration;
      expect(checks).toContainEqual({ name: "Maintenance", passed: false });
      expect(await plane.see(stays)).toMatchObject({ nodeId: nodeA, state: "RUNNING" });
      await fleet.change("enableNode", { nodeId: nodeA }, "operator", "restoredInstances");
      expect(maintenance()).toBeNull();
    });

    test("a node is disabled and its instances leave it, which its events tell", async () => {
      const ids = await Promise.all([running(), running(), running()]);
      const { nodeOperations } = await fleet.ask("viewer", "{ nodeOperations(first: 1) { watchCursor } }");
      const { id } = await fleet.begin("disableNode", { nodeId: nodeA, reason: "old", instances: "MIGRATE", maxParallel: 3 }, "operator");
      expect(await fleet.ended(id)).toMatchObject({ state: "SUCCEEDED", progress: { total: 3, done: 3, failures: [] } });
      for (const one of ids) expect(await plane.see(one)).toMatchObject({ nodeId: nodeB, state: "RUNNING" });
      expect(maintenance()).toBe("old");
      const [seen] = (await fleet.ask("viewer", NODE, { reps: [{ __typename: "Node", id: nodeA }] }))._entities;
      expect(seen).toEqual({ operation: null, operations: { totalCount: 1, nodes: [{ id, kind: "DISABLE", state: "SUCCEEDED" }] } });
      const events = await fleet.events(nodeOperations.watchCursor, id);
      expect(events[0]).toMatchObject({ type: "ADDED", phase: "PREPARING" });
      expect(events.map(({ phase }) => phase)).toContain("EVACUATING");
      expect(events.at(-1)).toMatchObject({ type: "MODIFIED", state: "SUCCEEDED" });
    });

    test("a host is rebooted, whichever replica goes on; what was stopped for it runs again", async () => {
      const ids = await Promise.all([running(), running()]);
      const back = Promise.withResolvers<void>();
      a!.power.mayReturn = back.promise;
      const before = a!.power.bootId;
      const input = { nodeId: nodeA, hostname: "HOST-A", reason: "kernel", instances: "STOP", clientRequestId: `reboot-${nodeA}` };
      const first = fleet.replica;
      const { id } = await fleet.begin("rebootNode", input);
      await fleet.until(id, ({ phase, waitingFor }) => phase === "WAITING_FOR_RETURN" && waitingFor !== null, "the host to be away");
      expect((await fleet.ask("viewer", NODE, { reps: [{ __typename: "Node", id: nodeA }] }))._entities[0].operation).toEqual({
        id,
        phase: "WAITING_FOR_RETURN",
      });
      // Too late to be cancelled, and nothing else can be done meanwhile; an answer that got lost is asked for again.
      expect(graphqlRefusal(await fleet.change("cancelNodeOperation", { operationId: id }))).toMatchObject({ reason: "TooLateToCancel" });
      expect(graphqlRefusal(await fleet.change("enableNode", { nodeId: nodeA }, "operator", "restoredInstances"))).toMatchObject({
        code: "CONFLICT",
        reason: "OperationUnderWay",
        operationId: id,
      });
      expect((await fleet.begin("rebootNode", input)).id).toBe(id);
      await fleet.start();
      await first.stop(0);
      back.resolve();
      expect(await fleet.ended(id)).toMatchObject({ state: "SUCCEEDED", error: null, requestedBy: "a admin" });
      expect(a!.power.bootId).not.toBe(before);
      expect(a!.power).toMatchObject({ lost: 0, orders: [{ kind: "reboot", bootId: before, reason: "a admin: kernel" }] });
      expect(maintenance()).toBeNull();
      await Promise.all(ids.map((one) => plane.untilState(one, "RUNNING")));
    });

    test("a host is shut down once all is stopped; somebody switches it on, and what ran is started", async () => {
      const id = await running();
      const { data } = await fleet.change(
        "shutdownNode",
        { nodeId: nodeA, hostname: "host-a", instances: "STOP" },
        "admin",
        "operation { id } warning",
      );
      const { operation, warning } = (data as { shutdownNode: { operation: { id: string }; warning: string } }).shutdownNode;
      expect(warning).toContain("on site");
      expect(await fleet.ended(operation.id)).toMatchObject({ state: "SUCCEEDED", phase: "WAITING_FOR_END" });
      expect(a!.power).toMatchObject({ lost: 0, orders: [{ kind: "shutdown" }] });
      expect(maintenance()).toContain(operation.id);
      await a!.power.switchOn();
      expect(await plane.see(id)).toMatchObject({ state: "STOPPED" });
      const enabled = await fleet.change("enableNode", { nodeId: nodeA, startInstances: true }, "operator", "restoredInstances");
      expect(enabled.data).toEqual({ enableNode: { restoredInstances: 1 } });
      await plane.untilState(id, "RUNNING");
    });

    test("an evacuation is cancelled: what was stopped is started again, the node is as it was", async () => {
      const ids = await Promise.all([running(), running()]);
      a!.holding = true;
      const { id } = await fleet.begin("rebootNode", { nodeId: nodeA, hostname: "host-a", instances: "STOP" });
      await fleet.until(id, ({ progress }) => progress !== null, "it to be under way");
      expect(graphqlRefusal(await fleet.change("cancelNodeOperation", { operationId: id }, "operator"))).toMatchObject({
        code: "FORBIDDEN",
      });
      await fleet.begin("cancelNodeOperation", { operationId: id });
      a!.release();
      expect(await fleet.ended(id)).toMatchObject({ state: "CANCELLED", error: { code: "CANCELLED", reason: "OperationCancelled" } });
      expect(maintenance()).toBeNull();
      await Promise.all(ids.map((one) => plane.untilState(one, "RUNNING")));
      expect(a!.power.orders).toEqual([]);
      expect(graphqlRefusal(await fleet.change("cancelNodeOperation", { operationId: id }))).toMatchObject({ reason: "OperationEnded" });
    });

    test("what is not to be is refused, and nothing has happened", async () => {
      const reboot = { nodeId: nodeA, hostname: "host-a" };
      const refused = async (name: string, input: object, role: "viewer" | "operator" | "admin" = "admin") =>
        graphqlRefusal(await fleet.change(name, input as Record<string, unknown>, role));
      expect(await refused("disableNode", { nodeId: nodeA }, "viewer")).toMatchObject({ code: "FORBIDDEN" });
      expect(await refused("rebootNode", reboot, "operator")).toMatchObject({ code: "FORBIDDEN" });
      expect(await refused("shutdownNode", reboot, "operator")).toMatchObject({ code: "FORBIDDEN" });
      expect(await refused("rebootNode", { ...reboot, hostname: "host-b" })).toMatchObject({
        reason: "ConfirmationMismatch",
        field: "hostname",
      });
      expect(await refused("rebootNode", { ...reboot, deadlineSeconds: 1 })).toMatchObject({
        code: "INVALID_ARGUMENT",
        field: "deadlineSeconds",
      });
      expect(await refused("rebootNode", { nodeId: "node-none", hostname: "x" })).toMatchObject({ code: "NOT_FOUND" });
      a!.power.reason = "PowerNotAllowed";
      expect(await refused("rebootNode", reboot)).toMatchObject({ code: "FAILED_PRECONDITION", reason: "PowerNotAllowed" });
      a!.power.reason = "";
      await running();
      expect(await refused("rebootNode", reboot)).toMatchObject({ reason: "InstancesRunning", running: 1 });
      a!.found("theirs", { state: InstanceState.RUNNING });
      const totals = "query ($reps: [_Any!]!) { _entities(representations: $reps) { ... on Node { instanceTotals { unmanaged } } } }";
      const reps = [{ __typename: "Node", id: nodeA }];
      await until(async () => (await plane.ask(totals, { reps }))._entities[0].instanceTotals.unmanaged === 1, "it to be known");
      expect(await refused("shutdownNode", { ...reboot, instances: "STOP" })).toMatchObject({ reason: "UnmanagedInstancesRunning" });
      await a!.kill();
      expect(await refused("rebootNode", reboot)).toMatchObject({ code: "UNAVAILABLE", reason: "AgentUnreachable" });
      expect(maintenance()).toBeNull();
      expect(a!.power.orders).toEqual([]);
    });
  });
}
