import { afterAll, beforeAll, expect, test } from "vitest";
import { DesiredState, InstanceState } from "../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { refusal } from "../../support/clusters-fleet.ts";
import { COMPUTE_VARIANTS, type ComputeClient, ComputeControlPlane, GIB } from "../../support/compute-control-plane.ts";
import { describeWithPeers } from "../../support/peers.ts";
import type { RecordedAgent } from "../../support/recorded-agent.ts";
import { until } from "../../support/until.ts";

const CREATE = `mutation ($input: CreateInstanceInput!) { createInstance(input: $input) { instance {
  id name type state desiredState stateReason managed nodeId generation ipAddress exitCode
  spec { image cpuCores memoryBytes disks { name sizeBytes type boot } network { networkId } env { key value } firmware cloudInit { userData sshAuthorizedKeys } }
  labels { key value } node { id } } } }`;

for (const variant of COMPUTE_VARIANTS) {
  describeWithPeers(`the life of an instance, on ${variant.name}`, variant.peers, () => {
    let plane: ComputeControlPlane;
    let agent: RecordedAgent;
    let operator: ComputeClient;

    beforeAll(async () => {
      plane = await ComputeControlPlane.open(variant.name);
      await plane.start();
      agent = await plane.node("node-1");
      operator = await plane.client();
    });
    afterAll(() => plane?.[Symbol.asyncDispose]());

    /** One that runs. */
    async function running(name: string): Promise<string> {
      const spec = { image: "debian", cpuCores: 1, memoryBytes: GIB, disks: [{ name: "root", sizeBytes: GIB, type: "", boot: true }] };
      const { id } = await operator.createInstance({ name, type: "INSTANCE_TYPE_VM" as never, spec });
      await plane.untilState(id, "RUNNING");
      return id;
    }

    /** The states that a watch shows of an instance since it was made, without repeats. */
    async function statesOf(id: string, upTo: string): Promise<string[]> {
      const states: string[] = [];
      for await (const { instance } of operator.watchInstance({ instanceId: id, snapshot: false, after: cursorBefore })) {
        const state = instance?.state.replace("INSTANCE_STATE_", "") ?? "";
        if (state !== states.at(-1)) states.push(state);
        if (state === upTo) break;
      }
      return states;
    }
    let cursorBefore = "";
    const mark = async () => {
      cursorBefore = (await operator.listInstances({ pageSize: 1 })).watchCursor;
    };

    test("is made by one mutation, told to the agent with all of its parts, and seen CREATING, STARTING, RUNNING", async () => {
      await mark();
      const input = {
        name: "web",
        type: "VM",
        spec: {
          image: "debian-12",
          cpuCores: 2,
          memoryBytes: GIB,
          disks: [{ name: "root", sizeBytes: 20 * GIB, type: "ssd", boot: true }],
          env: [{ key: "PASSWORD", value: "secret" }],
          cloudInit: { userData: "#cloud-config\npassword: x", sshAuthorizedKeys: ["ssh-ed25519 AAAA me"] },
        },
        labels: [{ key: "app", value: "web" }],
      };
      const { instance } = (await plane.ask(CREATE, { input })).createInstance;
      expect(instance).toMatchObject({
        id: expect.stringMatching(/^inst-[0-9a-z]{16}$/),
        name: "web",
        type: "VM",
        state: "CREATING",
        desiredState: "RUNNING",
        stateReason: "REQUESTED",
        managed: true,
        nodeId: "node-1",
        generation: 1,
        ipAddress: null,
        labels: [{ key: "app", value: "web" }],
        node: { id: "node-1" },
        spec: {
          image: "debian-12",
          cpuCores: 2,
          memoryBytes: GIB,
          disks: [{ name: "root", sizeBytes: 20 * GIB, type: "ssd", boot: true }],
          network: { networkId: "default" },
          env: [{ key: "PASSWORD", value: "secret" }],
          firmware: "BIOS",
          cloudInit: { userData: "#cloud-config\npassword: x", sshAuthorizedKeys: ["ssh-ed25519 AAAA me"] },
        },
      });
      expect(await statesOf(instance.id, "RUNNING")).toEqual(["CREATING", "STARTING", "RUNNING"]);
      const told = agent.applied.find(({ instanceId }) => instanceId === instance.id);
      expect(told).toMatchObject({
        nodeId: "node-1",
        generation: 1,
        revision: 1,
        name: "web",
        desiredState: DesiredState.RUNNING,
        madeBefore: false,
        metadata: { labels: { app: "web" } },
        spec: {
          env: { PASSWORD: "secret" },
          cloudInit: { userData: "#cloud-config\npassword: x" },
          disks: [{ name: "root", sizeBytes: 20 * GIB, type: "ssd", boot: true }],
          network: { networkId: "default" },
        },
      });
    });

    test("stops, starts, restarts, is suspended, resumed, resized and deleted, each seen on its way", async () => {
      const id = await running("through-all");
      await mark();
      expect(await operator.stopInstance({ instanceId: id, timeoutSeconds: 7 })).toMatchObject({
        state: InstanceState.STOPPING,
        desiredState: DesiredState.STOPPED,
      });
      await plane.untilState(id, "STOPPED");
      expect(agent.applied.at(-1)).toMatchObject({ desiredState: DesiredState.STOPPED, stopTimeoutSeconds: 7, force: false, revision: 2 });

      expect(
        (await operator.resizeInstance({ instanceId: id, cpuCores: 3, disks: [{ name: "root", sizeBytes: 2 * GIB }] })).spec,
      ).toMatchObject({ cpuCores: 3, memoryBytes: GIB });
      await until(() => agent.applied.at(-1)?.spec?.cpuCores === 3, "the agent to be told the size");

      expect((await operator.startInstance({ instanceId: id })).state).toBe(InstanceState.STARTING);
      await plane.untilState(id, "RUNNING");
      expect((await operator.restartInstance({ instanceId: id, force: true })).state).toBe(InstanceState.RESTARTING);
      await plane.untilState(id, "RUNNING");
      expect(agent.applied.at(-1)).toMatchObject({ restarts: 1, force: true, madeBefore: true });

      expect(await operator.suspendInstance({ instanceId: id })).toMatchObject({
        state: InstanceState.RUNNING,
        desiredState: DesiredState.SUSPENDED,
      });
      await plane.untilState(id, "SUSPENDED");
      expect(await operator.resumeInstance({ instanceId: id })).toMatchObject({
        state: InstanceState.SUSPENDED,
        desiredState: DesiredState.RUNNING,
      });
      await plane.untilState(id, "RUNNING");

      await operator.deleteInstance({ instanceId: id });
      const deleted = await plane.untilState(id, "DELETED");
      expect(deleted).toMatchObject({ desiredState: "DELETED", deletedAt: expect.any(String) });
      expect(await statesOf(id, "DELETED")).toEqual([
        "STOPPING",
        "STOPPED",
        "STARTING",
        "RUNNING",
        "RESTARTING",
        "RUNNING",
        "SUSPENDED",
        "RUNNING",
        "STOPPING",
        "DELETED",
      ]);
      expect([...agent.host.values()].filter(({ instanceId }) => instanceId === id)).toEqual([]);
    });

    test("what makes no sense now is refused, with the state and what may be asked instead", async () => {
      const id = await running("refusing");
      expect(await refusal(operator.startInstance({ instanceId: id }))).toMatchObject({
        code: "FAILED_PRECONDITION",
        reason: "InvalidState",
        details: { instanceId: id, state: "RUNNING", desiredState: "RUNNING", allowed: ["stop", "restart", "suspend", "delete"] },
      });
      await operator.deleteInstance({ instanceId: id });
      await plane.untilState(id, "DELETED");
      expect(await refusal(operator.startInstance({ instanceId: id }))).toMatchObject({
        reason: "InstanceDeleted",
        details: { allowed: [] },
      });
    });

    test("a deletion that is asked for twice is one; by force it is told again", async () => {
      const id = await running("deleted-twice");
      agent.holding = true;
      await operator.deleteInstance({ instanceId: id });
      await until(() => agent.applied.at(-1)?.desiredState === DesiredState.DELETED, "the deletion to be told");
      const told = agent.applied.length;
      await operator.deleteInstance({ instanceId: id });
      await operator.deleteInstance({ instanceId: id, force: true });
      await until(() => agent.applied.length > told, "the force to be told");
      expect(agent.applied.slice(told).map(({ force, revision }) => ({ force, revision }))).toEqual([{ force: true, revision: 3 }]);
      agent.release();
      await plane.untilState(id, "DELETED");
    });

    test("a guest that stops by itself is STOPPED from then on, with the reason; one that is started by hand is to run", async () => {
      const id = await running("by-itself");
      agent.observe(id, { state: InstanceState.STOPPED, stateReason: "GUEST_SHUTDOWN" });
      expect(await plane.untilState(id, "STOPPED")).toMatchObject({ desiredState: "STOPPED", stateReason: "GUEST_SHUTDOWN" });
      agent.observe(id, { state: InstanceState.RUNNING, stateReason: "CHANGED_OUTSIDE", ipAddresses: ["10.0.0.7", "fd00::7"] });
      expect(await plane.untilState(id, "RUNNING")).toMatchObject({
        desiredState: "RUNNING",
        stateReason: "CHANGED_OUTSIDE",
        ipAddresses: ["10.0.0.7", "fd00::7"],
      });
      // Nobody was told to do anything about it.
      expect(agent.applied.filter(({ instanceId }) => instanceId === id)).toHaveLength(1);
    });

    test("one that crashed can be started again; one that is MISSING cannot, and is deleted", async () => {
      const id = await running("crashing");
      agent.observe(id, { state: InstanceState.ERROR, stateReason: "CRASHED", message: "The guest panicked." });
      expect(await plane.untilState(id, "ERROR")).toMatchObject({
        desiredState: "STOPPED",
        stateReason: "CRASHED",
        errorMessage: "The guest panicked.",
      });
      await operator.startInstance({ instanceId: id });
      expect(await plane.untilState(id, "RUNNING")).toMatchObject({ errorMessage: null });

      agent.host.delete(`native-${id}`);
      agent.observe(id, { state: InstanceState.ERROR, stateReason: "MISSING" });
      await plane.untilState(id, "ERROR");
      expect(await refusal(operator.startInstance({ instanceId: id }))).toMatchObject({
        reason: "InstanceMissing",
        details: { allowed: ["delete"] },
      });
      await operator.deleteInstance({ instanceId: id });
      await plane.untilState(id, "DELETED");
    });

    test("a creation that fails is ERROR, is made again by a start, and keeps its reservation until it is deleted", async () => {
      agent.holding = true;
      const { id } = await operator.createInstance({
        name: "failing",
        type: "INSTANCE_TYPE_CONTAINER" as never,
        spec: { image: "nowhere", cpuCores: 1, memoryBytes: GIB },
      });
      await until(() => agent.applied.at(-1)?.instanceId === id, "the agent to be told");
      agent.observe(id, { state: InstanceState.ERROR, stateReason: "ImageNotFound", message: "There is no such image." });
      expect(await plane.untilState(id, "ERROR")).toMatchObject({ stateReason: "ImageNotFound", desiredState: "RUNNING" });
      agent.holding = false;
      expect((await operator.startInstance({ instanceId: id })).state).toBe(InstanceState.CREATING);
      await plane.untilState(id, "RUNNING");
    });

    test("what is reserved is the sum of what there is, once everything is done", async () => {
      const { "node-1": node } = await plane.reservations();
      expect(node!.reserved).toEqual(node!.sum);
      expect(node!.reserved[0]).toBeGreaterThan(0);
      expect(await plane.replica.metrics.text()).toMatch(/fleetgraph_instances\{state="RUNNING"\} [1-9]/);
      const { nodes } = (await plane.ask("{ instances(first: 100) { nodes { id } } }")).instances;
      for (const { id } of nodes) await operator.deleteInstance({ instanceId: id, force: true });
      for (const { id } of nodes) await plane.untilState(id, "DELETED");
      expect((await plane.reservations())["node-1"]).toEqual({ reserved: [0, 0, 0], sum: [0, 0, 0] });
      expect(agent.host.size).toBe(0);
    });
  });
}
