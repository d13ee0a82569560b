import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { FleetError } from "../../../platform/errors/fleet-error.ts";
import { DesiredState, InstanceState, InstanceType } from "../../../schema/generated/proto/hypervisor/v1/compute.ts";
import type { InstanceView } from "../../../subgraphs/compute/services/instance-types.ts";
import { graphqlRefusal } from "../../support/clusters-fleet.ts";
import { COMPUTE_VARIANTS, type ComputeClient, ComputeControlPlane, GIB } from "../../support/compute-control-plane.ts";
import { MigrationWorld } from "../../support/migration-world.ts";
import { describeWithPeers } from "../../support/peers.ts";
import type { RecordedAgent } from "../../support/recorded-agent.ts";
import { until } from "../../support/until.ts";

const VM = { image: "debian", cpuCores: 2, memoryBytes: GIB, disks: [{ name: "root", sizeBytes: 4 * GIB, type: "", boot: true }] };
const MIGRATE = `mutation ($input: MigrateInstanceInput!) { migrateInstance(input: $input) {
  task { id kind state node { id } } instance { id nodeId } } }`;
const TASK = "query ($id: ID!) { task(id: $id) { state status error { code reason message } } }";
const CHECK = `query ($id: ID!, $target: ID) { checkMigration(instanceId: $id, targetNodeId: $target) {
  possible node { id } copiesDisks bytesToCopy checks { name passed message } } }`;

interface TaskSeen {
  state: string;
  status: string | null;
  error: { code: string; reason: string; message: string } | null;
}

for (const variant of COMPUTE_VARIANTS) {
  describeWithPeers(`moving instances on ${variant.name}`, variant.peers, () => {
    let plane: ComputeControlPlane;
    let world: MigrationWorld;
    let [a, b]: RecordedAgent[] = [];
    let operator: ComputeClient;
    let [nodeA, nodeB] = ["", ""];
    let pairs = 0;

    beforeAll(async () => {
      plane = await ComputeControlPlane.open(variant.name);
      await plane.start();
    });
    afterAll(() => plane?.[Symbol.asyncDispose]());
    /** Two nodes of its own for each test, and none but them in the fleet. */
    beforeEach(async () => {
      pairs += 1;
      [nodeA, nodeB] = [`node-a${pairs}`, `node-b${pairs}`];
      world = new MigrationWorld();
      [a, b] = await Promise.all([plane.node(nodeA, { hostname: "host-a" }), plane.node(nodeB, { hostname: "host-b" })]);
      for (const agent of [a!, b!]) agent.migrations.world = world;
      operator = await plane.client();
    });
    afterEach(async () => {
      await Promise.all([a?.kill(), b?.kill()]);
      for (const nodeId of [nodeA, nodeB]) plane.agents.cluster.delete(nodeId);
      expect(world.violations).toEqual([]);
    });

    async function running(nodeId = nodeA): Promise<string> {
      const { id } = await operator.createInstance({ name: "moves", type: InstanceType.VM, spec: VM, preferredNodeId: nodeId });
      await plane.untilState(id, "RUNNING");
      return id;
    }

    async function migrate(id: string, more: Record<string, unknown> = { targetNodeId: nodeB }): Promise<string> {
      return (await plane.ask(MIGRATE, { input: { instanceId: id, ...more } })).migrateInstance.task.id;
    }

    async function ended(taskId: string): Promise<TaskSeen> {
      let task: TaskSeen | null = null;
      await until(
        async () => {
          task = (await plane.ask(TASK, { id: taskId })).task;
          return task !== null && task.state !== "QUEUED" && task.state !== "RUNNING";
        },
        `the end of ${taskId}`,
        30_000,
      ).catch((error: Error) => {
        throw new Error(`${error.message} It is ${JSON.stringify(task)}`);
      });
      return task as unknown as TaskSeen;
    }

    /** Holds the copy until it is let go on. */
    function holdCopy(): { copying: Promise<void>; go(): void } {
      const [copying, held] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
      world.onCopy = async (signal) => {
        copying.resolve();
        const aborted = new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
        await Promise.race([held.promise, aborted]);
      };
      return { copying: copying.promise, go: held.resolve };
    }

    /** One copy runs where the graph says; what is reserved is the sum. */
    async function expectWhole(id: string, nodeId: string): Promise<InstanceView> {
      const agents = { [nodeA]: a!, [nodeB]: b! };
      const runs = () =>
        Object.entries(agents).flatMap(([node, { host }]) =>
          [...host.values()].map(({ state }) => `${node} ${state === InstanceState.RUNNING}`),
        );
      await until(() => runs().join() === `${nodeId} true`, `one copy on ${nodeId}`, 20_000).catch((error: Error) => {
        throw new Error(`${error.message} It is ${runs().join()}`);
      });
      const seen = await plane.untilSeen(
        id,
        ({ state, desiredState, nodeId: at, activity }) =>
          state === "RUNNING" && desiredState === "RUNNING" && at === nodeId && activity === null,
        `the graph to say ${nodeId}`,
      );
      const other = nodeId === nodeA ? nodeB : nodeA;
      const taken = [2, GIB, 4 * GIB];
      expect(await plane.reservations()).toMatchObject({
        [nodeId]: { reserved: taken, sum: taken },
        [other]: { reserved: [0, 0, 0], sum: [0, 0, 0] },
      });
      return seen;
    }

    test("one moves, with its number and its share, and moves back to where there is room", async () => {
      const id = await running();
      const events = plane.replica.subgraph.handler.subscribe({
        query: "subscription { instanceEvents { type instance { nodeId generation activity state } } }",
        headers: await plane.headers("viewer"),
      });
      const seen: Array<{ nodeId: string; generation: number; activity: string | null; state: string }> = [];
      const reading = (async () => {
        for await (const { data } of events) {
          const { instance } = (data as { instanceEvents: { instance: (typeof seen)[number] | null } }).instanceEvents;
          if (instance) seen.push(instance);
        }
      })();
      expect(await ended(await migrate(id))).toMatchObject({ state: "SUCCEEDED", error: null });
      expect(await expectWhole(id, nodeB)).toMatchObject({ generation: 2, nativeId: `native-${id}` });
      await until(() => seen.some(({ nodeId }) => nodeId === nodeB), "its event");
      // It is never seen as anything but running, whatever the two hosts reported meanwhile.
      expect(new Set(seen.map(({ state }) => state))).toEqual(new Set(["RUNNING"]));
      expect(seen.map(({ activity }) => activity)).toContain("migrating to host-b: 42 %");
      await events.return?.(undefined as never);
      await reading;
      const told = b!.applied.filter(({ instanceId }) => instanceId === id);
      expect(told[0]).toMatchObject({ generation: 2, madeBefore: true, desiredState: DesiredState.RUNNING });
      expect(a!.applied.at(-1)).toMatchObject({ generation: 1, desiredState: DesiredState.DELETED, keepDisks: true });

      expect(await ended(await migrate(id, {}))).toMatchObject({ state: "SUCCEEDED" });
      expect(await expectWhole(id, nodeA)).toMatchObject({ generation: 3 });
      await operator.deleteInstance({ instanceId: id });
      await plane.untilState(id, "DELETED");
      expect([a!.host.size, b!.host.size]).toEqual([0, 0]);
    });

    test("while it moves nothing else is done with it, and a cancellation leaves it where it was", async () => {
      const id = await running();
      const { copying } = holdCopy();
      const taskId = await migrate(id, { targetNodeId: nodeB, clientRequestId: "once" });
      await copying;
      expect(await migrate(id, { targetNodeId: nodeB, clientRequestId: "once" })).toBe(taskId);
      const refused = { code: "FAILED_PRECONDITION", reason: "TaskUnderWay", taskId };
      for (const request of ["stopInstance", "suspendInstance", "restartInstance", "deleteInstance"]) {
        const answer = await plane.execute("operator", `mutation { ${request}(input: { instanceId: "${id}" }) { instance { id } } }`);
        expect(graphqlRefusal(answer)).toMatchObject(refused);
      }
      expect(graphqlRefusal(await plane.execute("operator", MIGRATE, { input: { instanceId: id, targetNodeId: nodeB } }))).toMatchObject(
        refused,
      );
      // What is reserved for it on the target stays, whoever counts.
      await plane.replica.subgraph.services.housekeeping.round();
      const taken = [2, GIB, 4 * GIB];
      expect(await plane.reservations()).toMatchObject({ [nodeA]: { reserved: taken }, [nodeB]: { reserved: taken, sum: [0, 0, 0] } });
      await plane.ask("mutation ($input: CancelTaskInput!) { cancelTask(input: $input) { task { id } } }", { input: { taskId } });
      expect(await ended(taskId)).toMatchObject({ state: "CANCELLED" });
      expect(await expectWhole(id, nodeA)).toMatchObject({ generation: 1 });
      world.onCopy = async () => undefined;
      // A placement's number is never given twice.
      expect(await ended(await migrate(id))).toMatchObject({ state: "SUCCEEDED" });
      expect(await expectWhole(id, nodeB)).toMatchObject({ generation: 3 });
    });

    test("by force it is deleted while it moves: the move ends, then it goes", async () => {
      const id = await running();
      const { copying, go } = holdCopy();
      const taskId = await migrate(id);
      await copying;
      await operator.deleteInstance({ instanceId: id, force: true });
      go();
      await ended(taskId);
      await plane.untilState(id, "DELETED");
      await until(() => a!.host.size + b!.host.size === 0, "nothing of it to be left");
      expect(await plane.reservations()).toMatchObject({ [nodeA]: { reserved: [0, 0, 0] }, [nodeB]: { reserved: [0, 0, 0] } });
    });

    test("what a target lacks is said check by check, and nothing is begun", async () => {
      const id = await running();
      world.checks.set(nodeB, [
        { name: "CpuBaseline", passed: false, message: "Its CPU lacks avx512f." },
        { name: "Networks", passed: true, message: "" },
      ]);
      plane.agents.cluster.set({ id: nodeB, maintenance: true });
      const failing = async () => {
        const { checkMigration } = await plane.ask(CHECK, { id, target: nodeB });
        return checkMigration.checks.filter(({ passed }: { passed: boolean }) => !passed).map(({ name }: { name: string }) => name);
      };
      await until(async () => (await failing()).length === 2, "the node to be known in maintenance");
      expect(await failing()).toEqual(["Maintenance", "CpuBaseline"]);
      expect(graphqlRefusal(await plane.execute("operator", MIGRATE, { input: { instanceId: id, targetNodeId: nodeB } }))).toMatchObject({
        code: "FAILED_PRECONDITION",
        reason: "MigrationNotPossible",
        checks: [{ name: "Maintenance" }, { name: "CpuBaseline", message: "Its CPU lacks avx512f." }],
      });
      expect(graphqlRefusal(await plane.execute("operator", MIGRATE, { input: { instanceId: id } }))).toMatchObject({
        code: "RESOURCE_EXHAUSTED",
        reason: "NoNodeFits",
      });
      const same = await plane.ask(CHECK, { id, target: nodeA });
      expect(same.checkMigration).toMatchObject({ possible: false });
      expect(graphqlRefusal(await plane.execute("operator", CHECK, { id, target: "node-x" }))).toMatchObject({
        code: "NOT_FOUND",
        field: "targetNodeId",
      });
      expect(graphqlRefusal(await plane.execute("viewer", MIGRATE, { input: { instanceId: id } }))).toMatchObject({ code: "FORBIDDEN" });
      b!.migrations.onCall = () => {
        throw new FleetError("UNIMPLEMENTED", "There is no such method.");
      };
      plane.agents.cluster.set({ id: nodeB, maintenance: false });
      await until(async () => (await failing()).join() === "TargetAgent", "an old agent to be named");
      await expectWhole(id, nodeA);
    });

    for (const victim of ["source", "target"] as const) {
      test(`the ${victim}'s agent is killed in the middle: it runs where it was`, async () => {
        const id = await running();
        const { copying, go } = holdCopy();
        const taskId = await migrate(id);
        await copying;
        const agent = victim === "source" ? a! : b!;
        await agent.kill();
        go();
        await agent.start();
        expect(await ended(taskId)).toMatchObject({ state: "FAILED", error: { code: "CONFLICT" } });
        await expectWhole(id, nodeA);
      });
    }

    test("another replica goes on where one was stopped, and the agents are told once", async () => {
      const id = await running();
      const { copying, go } = holdCopy();
      const first = plane.replica;
      const taskId = await migrate(id);
      await copying;
      await plane.start();
      const stopped = first.stop();
      go();
      world.onCopy = async () => undefined;
      await stopped;
      const { state } = await ended(taskId);
      await expectWhole(id, state === "SUCCEEDED" ? nodeB : nodeA);
    });

    test("a source that is away when the target has taken over is cleaned when it is back", async () => {
      const id = await running();
      let isAway: Promise<void> | null = null;
      b!.migrations.onCall = (method) => {
        if (method === "finishDestination answered") isAway ??= a!.kill();
      };
      expect(await ended(await migrate(id))).toMatchObject({ state: "SUCCEEDED" });
      await isAway;
      expect(await plane.see(id)).toMatchObject({ nodeId: nodeB, generation: 2 });
      expect(a!.host.size).toBe(1);
      await a!.start();
      await expectWhole(id, nodeB);
      expect(a!.applied.filter(({ desiredState }) => desiredState === DesiredState.DELETED).every(({ keepDisks }) => keepDisks)).toBe(true);
    });
  });
}
