import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { createGrpcChannel } from "../../../platform/grpc/channel.ts";
import { grpcClient } from "../../../platform/grpc/client.ts";
import { DesiredState, InstanceState, InstanceType } from "../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { InstanceObservation, InstanceReportServiceDefinition } from "../../../schema/generated/proto/hypervisor/v1/instances.ts";
import { agentKeyPair } from "../../support/certificates.ts";
import { refusal } from "../../support/clusters-fleet.ts";
import { COMPUTE_VARIANTS, type ComputeClient, ComputeControlPlane, GIB, workerNode } from "../../support/compute-control-plane.ts";
import { describeWithPeers } from "../../support/peers.ts";
import type { RecordedAgent } from "../../support/recorded-agent.ts";
import { until } from "../../support/until.ts";

const VM = { image: "debian", cpuCores: 1, memoryBytes: GIB };

for (const variant of COMPUTE_VARIANTS) {
  describeWithPeers(`what agents report, on ${variant.name}`, variant.peers, () => {
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
      agent = await aNode();
      nodeId = agent.nodeId;
      await until(async () => (await support()) !== null, "the first report");
    });
    afterAll(() => plane?.[Symbol.asyncDispose]());

    const aNode = () => {
      nodes += 1;
      return plane.node(`node-${nodes}`);
    };
    const support = async () =>
      (
        await plane.ask(
          `{ _entities(representations: [{ __typename: "Node", id: "${nodeId}" }]) { ... on Node { instanceTypes { type supported reason message engine } } } }`,
        )
      )._entities[0].instanceTypes;

    async function running(name: string): Promise<string> {
      const { id } = await operator.createInstance({ name, type: InstanceType.VM, spec: VM, preferredNodeId: nodeId });
      await plane.untilState(id, "RUNNING");
      return id;
    }
    /** A report in which the agent says this about one instance. */
    const observation = (instanceId: string, seen: Partial<InstanceObservation>) =>
      InstanceObservation.fromPartial({ instanceId, generation: 1, revision: 1, settled: true, made: true, ...seen });

    test("a host says what it can run, why not, and what to install", async () => {
      agent.typeSupport = [
        { type: InstanceType.VM, supported: true, reason: "", message: "", engine: "libvirt 9.0.0, QEMU 7.2.22, tcg" },
        { type: InstanceType.CONTAINER, supported: false, reason: "NoDriver", message: "Install podman.", engine: "" },
      ];
      agent.reportAll();
      await until(async () => (await support()).length === 2, "the report");
      expect(await support()).toEqual([
        { type: "VM", supported: true, reason: null, message: null, engine: "libvirt 9.0.0, QEMU 7.2.22, tcg" },
        { type: "CONTAINER", supported: false, reason: "NoDriver", message: "Install podman.", engine: null },
      ]);
    });

    test("a report that was taken is left aside, whatever it says; so are those of a session before", async () => {
      const id = await running("steady");
      const crash = [observation(id, { state: InstanceState.ERROR, stateReason: "CRASHED" })];
      await agent.send({ session: 9, sequence: 5, full: true, observations: [observation(id, { state: InstanceState.RUNNING })] });
      for (const old of [
        { session: 9, sequence: 5 },
        { session: 9, sequence: 4 },
        { session: 8, sequence: 50 },
      ]) {
        expect(await agent.send({ ...old, observations: crash })).toBe(false);
      }
      expect(await plane.see(id)).toMatchObject({ state: "RUNNING" });
      await agent.send({ session: 9, sequence: 6, observations: crash });
      expect(await plane.see(id)).toMatchObject({ state: "ERROR", stateReason: "CRASHED" });
    });

    test("another agent that the host was given to begins anew, however far the one before had counted", async () => {
      const id = await running("given");
      await agent.send({ session: 99, sequence: 5, full: true, observations: [observation(id, { state: InstanceState.RUNNING })] });
      const client = async (agentId: string) => {
        const tls = { caPem: plane.agents.ca.certificatePem, peerUri: "fleetgraph://control/*" };
        const pair = await agentKeyPair(plane.agents.ca, agentId);
        const channel = plane.agents.keep(createGrpcChannel(plane.replica.agentAddress, { ...tls, ...pair }), (opened) => opened.close());
        return grpcClient(InstanceReportServiceDefinition, channel);
      };
      const next = await client(`next-of-${nodeId}`);
      const crash = { nodeId, observations: [observation(id, { state: InstanceState.ERROR, stateReason: "CRASHED" })], typeSupport: [] };
      plane.agents.cluster.set({ ...workerNode(nodeId, `next-of-${nodeId}`, 1), id: nodeId });
      const isRefused = () =>
        agent.send({ session: 99, sequence: 6, observations: [] }).then(
          () => false,
          ({ reason }) => reason === "NotYourNode",
        );
      await until(isRefused, "the node is given to another agent");
      expect(await next.reportInstances({ ...crash, session: 3, sequence: 1, full: false })).toEqual({ fullWanted: true });
      expect(await plane.see(id)).toMatchObject({ state: "ERROR", stateReason: "CRASHED" });
    });

    test("a full report is wanted of a new session, and behind a gap", async () => {
      expect(await agent.send({ session: 9, sequence: 1, observations: [] })).toBe(true);
      expect(await agent.send({ session: 9, sequence: 2, observations: [] })).toBe(true);
      expect(await agent.send({ session: 9, sequence: 3, full: true, observations: [] })).toBe(false);
      expect(await agent.send({ session: 9, sequence: 4, observations: [] })).toBe(false);
      expect(await agent.send({ session: 9, sequence: 6, observations: [] })).toBe(true);
    });

    test("what was seen before the last request does not count, but addresses do", async () => {
      const id = await running("asked");
      agent.holding = true;
      await operator.stopInstance({ instanceId: id });
      agent.tell(observation(id, { state: InstanceState.RUNNING, ipAddresses: ["10.0.0.5", "no address"] }));
      await plane.untilSeen(id, ({ ipAddresses }) => ipAddresses.length > 0, "the address");
      expect(await plane.see(id)).toMatchObject({ state: "STOPPING", ipAddresses: ["10.0.0.5"] });
      agent.release();
      await plane.untilState(id, "STOPPED");
    });

    test("one that is gone from a full report is asked for again, and is MISSING", async () => {
      const id = await running("vanished");
      agent.loseDisk();
      agent.host.clear();
      agent.reportAll();
      expect(await plane.untilState(id, "ERROR")).toMatchObject({ stateReason: "MISSING", desiredState: "STOPPED" });
    });

    test("what others made is shown while it is there, and is not touched", async () => {
      const seen = { state: InstanceState.RUNNING, cpuCores: 2, memoryBytes: GIB, ipAddresses: ["10.0.0.9"] };
      agent.host.set("theirs", { nativeId: "theirs", instanceId: "", generation: 0, state: InstanceState.RUNNING });
      agent.found("theirs", seen);
      await until(async () => (await operator.listInstances({ managed: false, nodeId })).totalCount === 1, "what others made");
      const [found] = (await operator.listInstances({ managed: false, nodeId })).instances;
      expect(found).toMatchObject({
        name: "theirs",
        managed: false,
        nativeId: "theirs",
        state: InstanceState.RUNNING,
        desiredState: DesiredState.UNSPECIFIED,
        spec: { cpuCores: 2 },
      });
      const asked = [
        () => operator.stopInstance({ instanceId: found!.id }),
        () => operator.deleteInstance({ instanceId: found!.id, force: true }),
      ];
      for (const ask of asked) {
        expect(await refusal(ask())).toMatchObject({
          code: "FAILED_PRECONDITION",
          reason: "InstanceUnmanaged",
          details: { allowed: ["adopt"] },
        });
      }
      expect((await plane.reservations())[nodeId]).toEqual({ reserved: [0, 0, 0], sum: [0, 0, 0] });
      agent.found("theirs", { ...seen, state: InstanceState.STOPPED });
      await plane.untilState(found!.id, "STOPPED");

      const events = operator.watchInstance({ instanceId: found!.id, snapshot: true })[Symbol.asyncIterator]();
      expect((await events.next()).value).toMatchObject({ eventType: "EVENT_TYPE_ADDED" });
      agent.host.delete("theirs");
      agent.reportAll();
      let last = (await events.next()).value;
      while (last?.eventType !== "EVENT_TYPE_DELETED") last = (await events.next()).value;
      expect(last).toMatchObject({ eventType: "EVENT_TYPE_DELETED", instance: { name: "theirs", state: InstanceState.DELETED } });
      await events.return?.();
      expect(await refusal(operator.getInstance({ instanceId: found!.id }))).toMatchObject({ code: "NOT_FOUND" });
      expect(agent.applied).toEqual([]);
    });

    test("a mark of ours that this database has never heard of is shown as what others made", async () => {
      const id = "inst-0123456789abcdef";
      agent.host.set("orphan", { nativeId: "orphan", instanceId: id, generation: 3, state: InstanceState.RUNNING });
      agent.reportAll();
      await until(async () => (await operator.listInstances({ managed: false, nodeId })).totalCount === 1, "the orphan");
      expect(await plane.see(id)).toMatchObject({ managed: false, nativeId: "orphan", generation: 3 });
      const admin = await plane.client("admin");
      expect(await admin.adoptInstance({ instanceId: id })).toMatchObject({ managed: true, generation: 3 });
    });

    test("what is left on a host of a deleted instance is removed; another node's instance is left alone", async () => {
      const id = await running("deleted");
      await operator.deleteInstance({ instanceId: id });
      await plane.untilState(id, "DELETED");
      agent.host.set("left", { nativeId: "left", instanceId: id, generation: 1, state: InstanceState.RUNNING });
      agent.reportAll();
      await until(() => agent.host.size === 0, "what was left to be removed");
      expect(agent.applied.at(-1)).toMatchObject({ instanceId: id, desiredState: DesiredState.DELETED, force: true });
      expect((await plane.see(id)).state).toBe("DELETED");

      const other = await aNode();
      const mirrored = await running("mirrored");
      other.host.set("mirror", { nativeId: "mirror", instanceId: mirrored, generation: 1, state: InstanceState.STOPPED });
      expect(
        await other.send({
          session: 9,
          sequence: 1,
          full: true,
          observations: [observation(mirrored, { state: InstanceState.STOPPED, revision: 0 })],
        }),
      ).toBe(false);
      expect(other.applied).toEqual([]);
      expect(await plane.see(mirrored)).toMatchObject({ state: "RUNNING", nodeId });
    });

    test("only a node's own agent reports about it", async () => {
      const id = await running("whose");
      const client = async (agentId: string | null) => {
        const pair = agentId === null ? plane.agents.control : await agentKeyPair(plane.agents.ca, agentId);
        const tls = { caPem: plane.agents.ca.certificatePem, peerUri: "fleetgraph://control/*", ...pair };
        const channel = plane.agents.keep(createGrpcChannel(plane.replica.agentAddress, tls), (opened) => opened.close());
        return grpcClient(InstanceReportServiceDefinition, channel);
      };
      const report = {
        nodeId,
        session: 99,
        sequence: 1,
        full: true,
        observations: [observation(id, { state: InstanceState.ERROR })],
      };
      expect(await refusal((await client("agent-of-another")).reportInstances(report))).toMatchObject({
        code: "FORBIDDEN",
        reason: "NotYourNode",
      });
      expect(await refusal((await client(null)).reportInstances(report))).toMatchObject({ code: "FORBIDDEN" });
      expect(await refusal((await client(`agent-of-${nodeId}`)).reportInstances({ ...report, nodeId: "node-nowhere" }))).toMatchObject({
        code: "NOT_FOUND",
      });
      expect(await refusal((await client(`agent-of-${nodeId}`)).reportInstances({ ...report, session: 0 }))).toMatchObject({
        code: "INVALID_ARGUMENT",
        details: { field: "session" },
      });
      expect(await plane.see(id)).toMatchObject({ state: "RUNNING" });
      // Its own agent cannot speak of another node's instances either.
      const other = await aNode();
      await other.send({
        session: 9,
        sequence: 1,
        observations: [observation(id, { state: InstanceState.ERROR, generation: 5, revision: 9 })],
      });
      expect(await plane.see(id)).toMatchObject({ state: "RUNNING", generation: 1 });
    });

    test("many nodes report at once, some about the same instance again and again, and every state is the last one told", async () => {
      const agents = [agent, ...(await Promise.all([aNode(), aNode(), aNode()]))];
      const ids = await Promise.all(
        agents.flatMap(({ nodeId: of }) =>
          Array.from({ length: 5 }, async (_, index) => {
            const { id } = await operator.createInstance({
              name: `${of}-${index}`,
              type: InstanceType.VM,
              spec: VM,
              preferredNodeId: nodeId,
            });
            return { id, nodeId };
          }),
        ),
      );
      for (const { id } of ids) await plane.untilState(id, "RUNNING");
      for (let round = 0; round < 5; round += 1) {
        for (const { id, nodeId } of ids) {
          const own = agents.find((one) => one.nodeId === nodeId)!;
          own.observe(id, { state: round % 2 === 0 ? InstanceState.STOPPED : InstanceState.RUNNING, stateReason: `R${round}` });
        }
      }
      for (const { id } of ids)
        expect(await plane.untilSeen(id, ({ stateReason }) => stateReason === "R4", "the last report")).toMatchObject({
          state: "STOPPED",
          desiredState: "STOPPED",
        });
    });
  });
}
