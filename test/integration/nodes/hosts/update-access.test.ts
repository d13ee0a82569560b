import { afterAll, beforeAll, expect, test } from "vitest";
import { createLogger } from "../../../../platform/observability/log.ts";
import { NodeInventoryPart } from "../../../../subgraphs/nodes/entities/node-inventory-part.ts";
import { openNodesStore } from "../../../../subgraphs/nodes/main.ts";
import { graphqlRefusal } from "../../../support/clusters-fleet.ts";
import { HostsFleet, type NodesReplica } from "../../../support/hosts-fleet.ts";
import { NODES_VARIANTS } from "../../../support/nodes-fleet.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import type { ReachableHost, RecordedBridge } from "../../../support/recorded-bridge.ts";
import { until } from "../../../support/until.ts";

const UPDATE = "mutation ($input: UpdateNodeAccessInput!) { updateNodeAccess(input: $input) { node { id } hostKeys } }";

for (const { name: variant, peers } of NODES_VARIANTS) {
  describeWithPeers(`other ways to hosts on ${variant}`, peers, () => {
    let fleet: HostsFleet;
    let replica: NodesReplica;
    let agent: RecordedBridge;

    beforeAll(async () => {
      fleet = await HostsFleet.start(variant);
      replica = await fleet.replica();
      agent = await fleet.bridge("bridge-a", replica);
    }, 60_000);

    afterAll(() => fleet?.[Symbol.asyncDispose]());

    async function add(hostname: string): Promise<{ nodeId: string; uri: string; host: ReachableHost }> {
      const { uri, host } = fleet.addHost(hostname);
      const input = { hostname, uri, labels: [{ key: "rack", value: "7" }], credentials: { password: host.password } };
      const { data, errors } = await fleet.addNode(replica, input);
      expect(errors).toBeUndefined();
      const nodeId = (data as { addNode: { node: { id: string } } }).addNode.node.id;
      await until(() => listed(nodeId) !== undefined, `${hostname} in the agent's list`);
      return { nodeId, uri, host };
    }

    const listed = (nodeId: string) => agent.hosts.find((host) => host.nodeId === nodeId);
    const update = (input: Record<string, unknown>) => fleet.ask(replica, UPDATE, { input });
    const listedAs = (nodeId: string, generation: number) => until(() => listed(nodeId)?.generation === generation, "the agent's new list");

    test("credentials are rotated: tried first, kept sealed, and given to the agent, which takes the host up anew", async () => {
      const { nodeId, host } = await add("rotated");
      const before = host.password;
      host.password = "the next one";
      const { data, errors } = await update({ nodeId, credentials: { privateKey: host.privateKey } });
      expect(errors).toBeUndefined();
      expect(data).toEqual({ updateNodeAccess: { node: { id: nodeId }, hostKeys: [host.hostKey] } });
      await listedAs(nodeId, 2);
      expect(listed(nodeId)?.access).toMatchObject({ password: "", privateKey: host.privateKey, hostKeys: [host.hostKey] });
      expect((await fleet.nodes()).get("rotated")).toMatchObject({ id: nodeId, labels: [{ key: "rack", value: "7" }] });

      const store = await openNodesStore(fleet.databaseUrl, createLogger({ name: "test", level: "silent" }));
      const rows = await store.read((em) => em.execute("select * from bridged_host")).finally(() => store.close());
      const everywhere = [JSON.stringify(rows), ...fleet.logged].join("\n");
      expect(everywhere).toContain("rotated");
      for (const secret of [before, host.privateKey.split("\n")[1] as string]) expect(everywhere.includes(secret)).toBe(false);
    });

    test("what fails changes nothing, says at which step, and can be tried again at once", async () => {
      const { nodeId, uri, host } = await add("kept");
      for (const [input, step, reason] of [
        [{ credentials: { password: "wrong" } }, "AUTHENTICATE", "AuthenticationFailed"],
        [{ uri: "qemu+ssh://root@nowhere/system" }, "CONNECT", "ConnectFailed"],
        [{ hostKeys: [fleet.addHost("stranger").host.hostKey] }, "HOST_KEY", "HostKeyChanged"],
      ] as const) {
        expect(graphqlRefusal(await update({ nodeId, ...input }))).toMatchObject({ step, reason });
      }
      agent.loseList();
      const lists = agent.lists.length;
      await until(() => agent.lists.length > lists, "the list");
      expect(listed(nodeId)).toMatchObject({ generation: 1, access: { uri, password: host.password, hostKeys: [host.hostKey] } });
    });

    test("a host that was installed anew has another key: it counts once somebody says so", async () => {
      const { nodeId, host } = await add("reinstalled");
      host.hostKey = fleet.addHost("first-key").host.hostKey;
      const password = host.password;
      expect(graphqlRefusal(await update({ nodeId, credentials: { password } }))).toMatchObject({
        reason: "HostKeyChanged",
        step: "HOST_KEY",
      });
      expect((await update({ nodeId, forgetHostKeys: true })).data).toMatchObject({ updateNodeAccess: { hostKeys: [host.hostKey] } });
      host.hostKey = fleet.addHost("second-key").host.hostKey;
      const hostKeys = [host.hostKey, fleet.addHost("third-key").host.hostKey];
      expect((await update({ nodeId, hostKeys })).data).toMatchObject({ updateNodeAccess: { hostKeys } });
      await listedAs(nodeId, 3);
      expect(listed(nodeId)?.access).toMatchObject({ password, hostKeys });
    });

    test("an address changes: the same credentials and host key, the same node", async () => {
      const { nodeId, host } = await add("moved");
      // Its own report must not make it somebody else's machine.
      const store = await openNodesStore(fleet.databaseUrl, createLogger({ name: "test", level: "silent" }));
      const content = { uuid: host.uuid, bootId: host.bootId, unavailable: [] };
      const at = { observedAt: new Date(), reportedAt: new Date() };
      await store
        .transaction(async ({ em }) => void (await em.insert(NodeInventoryPart, { nodeId, part: "HOST", digest: "d", content, ...at })))
        .finally(() => store.close());
      const { uri } = fleet.addHost("moved-away", host);
      expect((await update({ nodeId, uri })).errors).toBeUndefined();
      expect((await fleet.nodes()).get("moved")).toMatchObject({ id: nodeId, uri, agentId: agent.agentId });
      await listedAs(nodeId, 2);
      expect(listed(nodeId)?.access).toMatchObject({ uri, password: host.password, hostKeys: [host.hostKey] });
      await until(async () => (await fleet.nodes()).get("moved")?.status === "READY", "the host's next report");
    });

    test("another machine is refused, unless it stands in for the former one; another node's machine always", async () => {
      const { nodeId, host } = await add("replaced");
      const { uri, host: spare } = fleet.addHost("spare");
      const asked = { nodeId, uri, credentials: { password: spare.password }, forgetHostKeys: true };
      expect(graphqlRefusal(await update(asked))).toMatchObject({
        ...{ code: "FAILED_PRECONDITION", reason: "AnotherHost", expected: host.uuid, found: spare.uuid },
      });
      expect((await update({ ...asked, anotherHost: true })).errors).toBeUndefined();
      // From now on it is that one.
      expect((await update(asked)).errors).toBeUndefined();
      const other = await add("other-node");
      const taken = { nodeId, uri: other.uri, credentials: { password: other.host.password }, forgetHostKeys: true, anotherHost: true };
      expect(graphqlRefusal(await update(taken))).toMatchObject({ code: "ALREADY_EXISTS", reason: "SameHost", id: other.nodeId });
    });

    test("of two changes at once one is made", async () => {
      const { nodeId, host } = await add("contended");
      const answered = Promise.withResolvers<void>();
      agent.holding = answered.promise;
      const probed = agent.probed.length;
      const first = update({ nodeId, credentials: { privateKey: host.privateKey } });
      await until(() => agent.probed.length > probed, "the host to be contacted");
      const second = await update({ nodeId, forgetHostKeys: true });
      answered.resolve();
      expect(graphqlRefusal(second)).toMatchObject({ code: "CONFLICT" });
      expect((await first).errors).toBeUndefined();
    });

    test("only for an admin, for a host that was added by URI, with input that says something", async () => {
      const { nodeId } = await add("plain");
      const forget = { nodeId, forgetHostKeys: true };
      for (const role of ["viewer", "operator"] as const) {
        expect(graphqlRefusal(await fleet.ask(replica, UPDATE, { input: forget }, role))).toMatchObject({ code: "FORBIDDEN" });
      }
      expect(graphqlRefusal(await update({ ...forget, nodeId: agent.nodeId }))).toMatchObject({ reason: "NotBridged" });
      expect(graphqlRefusal(await update({ ...forget, nodeId: "node-none" }))).toMatchObject({ code: "NOT_FOUND" });
      const hostKeys = [fleet.addHost("any").host.hostKey];
      for (const [input, field] of [
        [{}, "input"],
        [{ forgetHostKeys: true, hostKeys }, "forgetHostKeys"],
        [{ uri: "qemu+ssh://root:secret@h/system" }, "uri"],
        [{ uri: "qemu+unix:///system?socket=/s", credentials: { password: "x" } }, "credentials"],
        [{ credentials: {} }, "credentials"],
        [{ hostKeys: ["ssh-ed25519 nonsense"] }, "hostKeys[0]"],
      ] as const) {
        expect(graphqlRefusal(await update({ nodeId, ...input }))).toMatchObject({ code: "INVALID_ARGUMENT", field });
      }
    });

    test("without the agent that stands for it nothing is tried, by no other agent either", async () => {
      const { nodeId, host } = await add("alone");
      const other = await fleet.bridge("bridge-b", replica);
      await agent.kill();
      await until(async () => {
        const { code, step, reason } = graphqlRefusal(await update({ nodeId, credentials: { password: host.password } }));
        expect({ code, step }).toEqual({ code: "UNAVAILABLE", step: "AGENT" });
        return reason === "NoBridgingAgent";
      }, "the agent's end to be known");
      expect(other.probed).toEqual([]);
    });
  });
}
