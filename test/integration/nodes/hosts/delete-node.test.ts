import { afterAll, beforeAll, expect, test } from "vitest";
import { graphqlRefusal } from "../../../support/clusters-fleet.ts";
import { HostsFleet, type NodesReplica } from "../../../support/hosts-fleet.ts";
import { CAMPAIGN } from "../../../support/in-campaigns.ts";
import { NODES_VARIANTS } from "../../../support/nodes-fleet.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import type { RecordedBridge } from "../../../support/recorded-bridge.ts";
import { until } from "../../../support/until.ts";

const DELETE = `mutation ($input: DeleteNodeInput!) { deleteNode(input: $input) {
  nodeId configuration { hostname uri kind region labels { key value } hostKeys } operation { id state } } }`;

// The other database is left to campaigns.
for (const { name: variant, peers } of NODES_VARIANTS.filter(({ name }) => CAMPAIGN || name === "SQLite")) {
  describeWithPeers(`deleting hosts on ${variant}`, peers, () => {
    let fleet: HostsFleet;
    let replica: NodesReplica;
    let agent: RecordedBridge;

    beforeAll(async () => {
      fleet = await HostsFleet.start(variant);
      replica = await fleet.replica();
      agent = await fleet.bridge("bridge-a", replica);
    }, 60_000);

    afterAll(() => fleet?.[Symbol.asyncDispose]());

    const remove = (input: Record<string, unknown>) => fleet.ask(replica, DELETE, { input });

    async function add(name: string): Promise<{ nodeId: string; uri: string; password: string }> {
      const { uri, host } = fleet.addHost(name);
      const { errors } = await fleet.addNode(replica, { hostname: name, uri, region: "north", credentials: { password: host.password } });
      expect(errors).toBeUndefined();
      await until(() => agent.hosts.some(({ hostname }) => hostname === name), `${name} in the agent's list`);
      return { nodeId: (await fleet.nodes()).get(name).id, uri, password: host.password };
    }

    test("with its hostname typed it leaves fleet and agent, and its configuration adds it again", async () => {
      const { nodeId, uri, password } = await add("leaving");
      expect(graphqlRefusal(await remove({ nodeId, hostname: "other" }))).toMatchObject({
        ...{ code: "INVALID_ARGUMENT", reason: "ConfirmationMismatch", field: "hostname" },
      });
      const { data, errors } = await remove({ nodeId, hostname: "Leaving" });
      expect(errors).toBeUndefined();
      // biome-ignore lint/suspicious/noExplicitAny: what comes back is what was asked for
      const { configuration, operation } = (data as any).deleteNode;
      expect(operation).toBeNull();
      expect(configuration).toMatchObject({ hostname: "leaving", uri, kind: "COMPUTE", region: "north" });
      expect(configuration.hostKeys).toHaveLength(1);
      expect(JSON.stringify(data)).not.toContain(password);
      expect((await fleet.nodes()).has("leaving")).toBe(false);
      await until(() => agent.hosts.length === 0, "the agent's list to be empty");
      expect(graphqlRefusal(await remove({ nodeId, hostname: "leaving" }))).toMatchObject({ code: "NOT_FOUND", id: nodeId });

      const again = await fleet.addNode(replica, { ...configuration, credentials: { password } });
      expect(again.errors).toBeUndefined();
      await until(async () => (await fleet.nodes()).get("leaving")?.status === "READY", "the host to be back");
      expect((await fleet.nodes()).get("leaving").id).not.toBe(nodeId);
    });

    test("it is refused while instances run there", async () => {
      const { nodeId } = await add("busy");
      fleet.running.set(nodeId, 2);
      expect(graphqlRefusal(await remove({ nodeId, hostname: "busy" }))).toMatchObject({
        ...{ code: "FAILED_PRECONDITION", reason: "InstancesRunning", running: 2 },
      });
      expect((await fleet.nodes()).get("busy")).toMatchObject({ id: nodeId, maintenance: false });
      fleet.running.delete(nodeId);
      expect((await remove({ nodeId, hostname: "busy" })).errors).toBeUndefined();
    });

    test("with STOP its instances are stopped first, by an operation that ends with the node", async () => {
      const { nodeId } = await add("emptied");
      fleet.running.set(nodeId, 3);
      const { data, errors } = await remove({ nodeId, hostname: "emptied", instances: "STOP" });
      expect(errors).toBeUndefined();
      expect(data).toMatchObject({ deleteNode: { operation: { state: "RUNNING" }, configuration: { hostname: "emptied" } } });
      expect(graphqlRefusal(await remove({ nodeId, hostname: "emptied" }))).toMatchObject({
        code: "CONFLICT",
        reason: "OperationUnderWay",
      });
      await until(async () => !(await fleet.nodes()).has("emptied"), "the node to be gone", 60_000);
      await until(() => agent.hosts.every(({ hostname }) => hostname !== "emptied"), "the agent's list");
      expect(fleet.running.get(nodeId)).toBe(0);
    });

    test("a node with an agent of its own is deleted too, and then stands for nobody", async () => {
      const other = await fleet.bridge("bridge-b", replica);
      expect((await remove({ nodeId: other.nodeId, hostname: "bridge-b" })).errors).toBeUndefined();
      expect((await fleet.nodes()).has("bridge-b")).toBe(false);
      await until(() => other.refused.includes("NodeDeregistered"), "the agent to be refused");
    });
  });
}
