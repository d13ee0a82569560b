import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { createGrpcChannel } from "../../../platform/grpc/channel.ts";
import { type GrpcClient, grpcClient } from "../../../platform/grpc/client.ts";
import { DesiredState, InstanceState, InstanceType } from "../../../schema/generated/proto/hypervisor/v1/compute.ts";
import {
  EvacuateRequest,
  EvacuationMode,
  EvacuationServiceDefinition,
  type EvacuationState,
} from "../../../schema/generated/proto/hypervisor/v1/evacuation.ts";
import { agentKeyPair } from "../../support/certificates.ts";
import { refusal } from "../../support/clusters-fleet.ts";
import { COMPUTE_VARIANTS, type ComputeClient, ComputeControlPlane, GIB } from "../../support/compute-control-plane.ts";
import { MigrationWorld } from "../../support/migration-world.ts";
import { describeWithPeers } from "../../support/peers.ts";
import type { RecordedAgent } from "../../support/recorded-agent.ts";
import { until } from "../../support/until.ts";

const VM = { image: "debian", cpuCores: 1, memoryBytes: GIB, disks: [{ name: "root", sizeBytes: GIB, type: "", boot: true }] };

type Client = GrpcClient<typeof EvacuationServiceDefinition>;

for (const variant of COMPUTE_VARIANTS) {
  describeWithPeers(`taking instances off a node on ${variant.name}`, variant.peers, () => {
    let plane: ComputeControlPlane;
    let world: MigrationWorld;
    let [a, b]: RecordedAgent[] = [];
    let operator: ComputeClient;
    let control: Client;
    let [nodeA, nodeB, operationId] = ["", "", ""];
    let pairs = 0;

    beforeAll(async () => {
      plane = await ComputeControlPlane.open(variant.name);
      await plane.start();
      control = connect(plane.agents.control);
    });
    afterAll(() => plane?.[Symbol.asyncDispose]());
    /** Two nodes of its own for each test, and none but them in the fleet. */
    beforeEach(async () => {
      pairs += 1;
      [nodeA, nodeB, operationId] = [`node-a${pairs}`, `node-b${pairs}`, `op-${pairs}`];
      world = new MigrationWorld();
      [a, b] = await Promise.all([plane.node(nodeA, { hostname: "host-a" }), plane.node(nodeB, { hostname: "host-b" })]);
      for (const agent of [a!, b!]) agent.migrations.world = world;
      operator = await plane.client();
    });
    afterEach(async () => {
      await Promise.all([a?.kill(), b?.kill()]);
      for (const nodeId of [nodeA, nodeB]) plane.agents.cluster.delete(nodeId);
    });

    function connect(pair: { certificatePem: string; keyPem: string }): Client {
      const tls = { caPem: plane.agents.ca.certificatePem, peerUri: "fleetgraph://control/*", ...pair };
      const channel = plane.agents.keep(createGrpcChannel(plane.replica.agentAddress, tls), (opened) => opened.close());
      return grpcClient(EvacuationServiceDefinition, channel);
    }

    async function running(type = InstanceType.VM): Promise<string> {
      const spec = type === InstanceType.CONTAINER ? { ...VM, disks: [] } : VM;
      const { id } = await operator.createInstance({ name: "goes", type, spec, preferredNodeId: nodeA });
      await plane.untilState(id, "RUNNING");
      return id;
    }

    const evacuate = (mode: EvacuationMode, more: Partial<EvacuateRequest> = {}): Promise<EvacuationState> =>
      control.evacuate(EvacuateRequest.fromPartial({ nodeId: nodeA, operationId, mode, requestedBy: "an admin", ...more }));

    /** Asks again and again, as an operation does. */
    async function toTheEnd(mode: EvacuationMode, more: Partial<EvacuateRequest> = {}, each: () => unknown = () => undefined) {
      let state = await evacuate(mode, more);
      await until(
        async () => {
          await each();
          state = await evacuate(mode, more);
          return state.remaining === 0;
        },
        "nothing to remain",
        30_000,
      ).catch((error: Error) => {
        throw new Error(`${error.message} It is ${JSON.stringify(state)}`);
      });
      return state;
    }

    test("moves what can be moved, as many at once as allowed, and names the rest", async () => {
      const movable = await Promise.all([running(), running(), running()]);
      const container = await running(InstanceType.CONTAINER);
      let most = 0;
      const count = async () => {
        const { underWay } = await evacuate(EvacuationMode.MIGRATE, { maxParallel: 1 });
        most = Math.max(most, underWay);
      };
      const end = await toTheEnd(EvacuationMode.MIGRATE, { maxParallel: 1 }, count);
      expect(end).toMatchObject({ total: 4, done: 3, underWay: 0 });
      expect(end.failures).toEqual([expect.objectContaining({ instanceId: container, reason: "ContainerNotMovable" })]);
      expect(most).toBe(1);
      for (const id of movable) expect(await plane.see(id)).toMatchObject({ nodeId: nodeB, state: "RUNNING" });
      const { tasks } = await plane.ask(
        `{ tasks(first: 10, filter: { kind: MIGRATION, instanceId: "${movable[0]}" }) { nodes { state createdBy } } }`,
      );
      expect(tasks.nodes).toEqual([{ state: "SUCCEEDED", createdBy: "an admin" }]);
      expect(await control.countInstances({ nodeId: nodeA })).toEqual({ managed: 1, running: 1, unmanagedRunning: 0 });
      expect(world.violations).toEqual([]);
    });

    test("gives up what fits nowhere after some tries, with the reason", async () => {
      const id = await running();
      plane.agents.cluster.set({ id: nodeB, maintenance: true });
      const end = await toTheEnd(EvacuationMode.MIGRATE);
      expect(end.failures).toEqual([expect.objectContaining({ instanceId: id, reason: "NoNodeFits" })]);
      expect(await plane.see(id)).toMatchObject({ nodeId: nodeA, state: "RUNNING" });
    });

    test("when cancelled begins nothing more, and what is being copied comes back", async () => {
      const ids = await Promise.all([running(), running()]);
      const copying = Promise.withResolvers<void>();
      const go = Promise.withResolvers<void>();
      a!.migrations.onCall = async (method) => {
        if (method !== "performSource") return;
        copying.resolve();
        await go.promise;
      };
      await evacuate(EvacuationMode.MIGRATE, { maxParallel: 1 });
      await copying.promise;
      const cancelled = () => evacuate(EvacuationMode.MIGRATE, { maxParallel: 1, cancel: true });
      await cancelled();
      go.resolve();
      await until(async () => (await cancelled()).underWay === 0, "nothing to be under way", 30_000);
      expect(await cancelled()).toMatchObject({ total: 2, done: 0, remaining: 2 });
      for (const id of ids) expect(await plane.see(id)).toMatchObject({ nodeId: nodeA, state: "RUNNING" });
    });

    test("stops what runs, and starts again what nobody asked anything else of since", async () => {
      const [one, two, three] = [await running(), await running(), await running(InstanceType.CONTAINER)] as const;
      expect(await toTheEnd(EvacuationMode.STOP)).toMatchObject({ total: 3, done: 3, failures: [] });
      for (const id of [one, two, three]) expect(await plane.see(id)).toMatchObject({ state: "STOPPED", desiredState: "STOPPED" });
      expect(await control.countInstances({ nodeId: nodeA })).toMatchObject({ managed: 3, running: 0 });
      // Somebody wants it otherwise.
      await operator.startInstance({ instanceId: two });
      await plane.untilState(two, "RUNNING");
      await operator.stopInstance({ instanceId: two });
      await plane.untilState(two, "STOPPED");
      expect(await control.restore({ nodeId: nodeA, operationId })).toMatchObject({ remaining: 0 });
      await Promise.all([one, three].map((id) => plane.untilState(id, "RUNNING")));
      const starts = () => a!.applied.filter(({ desiredState }) => desiredState === DesiredState.RUNNING).length;
      const before = starts();
      await control.restore({ nodeId: nodeA, operationId });
      expect(await plane.see(two)).toMatchObject({ state: "STOPPED" });
      expect(starts()).toBe(before);
    });

    test("waits for a guest that takes its time, and stops again one that was started meanwhile", async () => {
      const id = await running();
      a!.holding = true;
      await evacuate(EvacuationMode.STOP);
      expect(await evacuate(EvacuationMode.STOP)).toMatchObject({ underWay: 1, remaining: 1 });
      a!.release();
      expect(await toTheEnd(EvacuationMode.STOP)).toMatchObject({ done: 1 });
      await operator.startInstance({ instanceId: id });
      expect(await toTheEnd(EvacuationMode.STOP)).toMatchObject({ total: 1, done: 1, failures: [] });
      expect(await plane.see(id)).toMatchObject({ state: "STOPPED" });
    });

    test("leaves what is not ours alone, and says so", async () => {
      a!.found("theirs", { state: InstanceState.RUNNING });
      await until(async () => (await control.countInstances({ nodeId: nodeA })).unmanagedRunning === 1, "it to be known");
      const { failures, remaining } = await evacuate(EvacuationMode.STOP);
      expect(failures).toEqual([expect.objectContaining({ reason: "InstanceUnmanaged" })]);
      expect(remaining).toBe(0);
      // Its owner shut it down.
      a!.found("theirs", { state: InstanceState.STOPPED });
      await until(async () => (await evacuate(EvacuationMode.STOP)).failures.length === 0, "it to be gone");
    });

    test("is the control plane's alone", async () => {
      const agent = connect(await agentKeyPair(plane.agents.ca, "agent-x"));
      expect(await refusal(agent.countInstances({ nodeId: nodeA }))).toMatchObject({ code: "FORBIDDEN" });
      expect(await refusal(agent.restore({ nodeId: nodeA, operationId }))).toMatchObject({ code: "FORBIDDEN" });
      expect(await refusal(evacuate(EvacuationMode.UNSPECIFIED))).toMatchObject({ code: "INVALID_ARGUMENT" });
      expect(await refusal(evacuate(EvacuationMode.MIGRATE, { maxParallel: 17 }))).toMatchObject({ code: "INVALID_ARGUMENT" });
    });
  });
}
