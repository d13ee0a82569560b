import { afterAll, beforeAll, expect, test } from "vitest";
import { NodeKind, NodeRole, NodeStatus } from "../../../schema/generated/proto/hypervisor/v1/cluster.ts";
import {
  CLUSTERS_VARIANTS,
  type ClusterClient,
  ClustersFleet,
  type ClustersReplica,
  refusal,
  registration,
} from "../../support/clusters-fleet.ts";
import { describeWithPeers } from "../../support/peers.ts";

for (const variant of CLUSTERS_VARIANTS) {
  describeWithPeers(`nodes on ${variant.name}`, variant.peers, () => {
    let fleet: ClustersFleet;
    let replica: ClustersReplica;
    let admin: ClusterClient;

    beforeAll(async () => {
      fleet = await ClustersFleet.open(variant.name);
      replica = await fleet.replica({ clusterName: "the fleet" });
      admin = await fleet.user(replica, "admin");
    });
    afterAll(() => fleet?.close());

    const register = async (hostname: string, rest = {}) => (await admin.registerNode(registration(hostname, rest))).nodeId;

    test("register, heartbeat, get, list, update, deregister and admit over gRPC", async () => {
      const { nodeId, heartbeatIntervalSeconds, leaseTtlSeconds, endpoints } = await admin.registerNode(registration("walk-1"));
      expect(nodeId).toMatch(/^node-[a-z0-9]{16}$/);
      expect([heartbeatIntervalSeconds, leaseTtlSeconds]).toEqual([10, 30]);
      expect(endpoints).toEqual([{ service: "hypervisor.v1.InventoryService", address: "127.0.0.1:1" }]);
      expect(await admin.getNode({ nodeId })).toMatchObject({ hostname: "walk-1", status: NodeStatus.PENDING, lastSeen: undefined });
      const allocated = { cpuCores: 8, memoryBytes: 34359738368, diskBytes: 0, gpuCount: 0 };
      const answer = await admin.heartbeat({ nodeId, status: NodeStatus.READY, allocated });
      expect(answer).toMatchObject({ accepted: true, nextHeartbeatSeconds: 10, commands: [] });
      const node = await admin.getNode({ nodeId });
      expect(node).toMatchObject({ status: NodeStatus.READY, allocated, allocatable: { cpuCores: 64, memoryBytes: 67645734912 } });
      expect(node.conditions).toMatchObject([{ type: "Ready", status: "True" }]);
      expect(node.lastSeen).toEqual(answer.receivedAt);
      const list = await admin.listNodes({ name: "WALK", status: NodeStatus.READY });
      expect(list.nodes.map(({ id }) => id)).toEqual([nodeId]);
      expect(list).toMatchObject({ totalCount: 1, nextPageToken: "" });
      const updated = await admin.updateNode({ nodeId, labels: { entries: { rack: "7" } }, zone: "z1" });
      expect(updated).toMatchObject({ zone: "z1", region: "", metadata: { labels: { rack: "7" }, annotations: {} } });
      await admin.deregisterNode({ nodeId });
      expect(await admin.getNode({ nodeId })).toMatchObject({ deregistered: true, status: NodeStatus.UNKNOWN });
      expect((await admin.listNodes({ name: "walk" })).totalCount).toBe(0);
      expect((await admin.listNodes({ name: "walk", deregistered: true })).totalCount).toBe(1);
      const refused = { code: "FAILED_PRECONDITION", reason: "NodeDeregistered" };
      expect(await refusal(admin.heartbeat({ nodeId, status: NodeStatus.READY }))).toMatchObject(refused);
      expect(await refusal(admin.registerNode(registration("walk-1")))).toMatchObject(refused);
      expect(await refusal(admin.updateNode({ nodeId, zone: "z2" }))).toMatchObject(refused);
      expect(await admin.admitNode({ nodeId })).toMatchObject({ deregistered: false, status: NodeStatus.PENDING, zone: "z1" });
      expect(await register("walk-1")).toBe(nodeId);
      expect(await admin.heartbeat({ nodeId, status: NodeStatus.READY })).toMatchObject({ accepted: true });
    });

    test("deregister and admit may be repeated, and change nothing then", async () => {
      const nodeId = await register("twice");
      await admin.deregisterNode({ nodeId });
      const out = await admin.getNode({ nodeId });
      await admin.deregisterNode({ nodeId });
      expect(await admin.getNode({ nodeId })).toEqual(out);
      const admitted = await admin.admitNode({ nodeId });
      expect(await admin.admitNode({ nodeId })).toEqual(admitted);
    });

    test("registering again keeps the id and brings what the host has up to date", async () => {
      const nodeId = await register("again", { region: "eu", metadata: { labels: { from: "agent" }, annotations: {} } });
      await admin.updateNode({ nodeId, region: "us", labels: { entries: { from: "operator" } } });
      const capacity = { cpuCores: 32, memoryBytes: 1e12, diskBytes: 5, gpuCount: 2 };
      // The same intent as before: what the operator changed since stays.
      expect(await register("again", { region: "eu", capacity, metadata: { labels: { from: "agent" }, annotations: {} } })).toBe(nodeId);
      expect(await admin.getNode({ nodeId })).toMatchObject({ region: "us", capacity, metadata: { labels: { from: "operator" } } });
      // Another intent counts.
      await register("AGAIN", { region: "asia" });
      expect(await admin.getNode({ nodeId })).toMatchObject({ region: "asia", metadata: { labels: { from: "operator" } } });
      await register("again");
      expect(await admin.getNode({ nodeId })).toMatchObject({ region: "" });
    });

    test("an agent keeps its id by its certificate, also under another hostname", async () => {
      const agent = await fleet.agent(replica, "agent-renamed");
      const { nodeId } = await agent.registerNode(registration("before"));
      expect((await agent.registerNode(registration("after", { nodeId }))).nodeId).toBe(nodeId);
      expect(await agent.getNode({ nodeId })).toMatchObject({ hostname: "after", agentId: "agent-renamed" });
      // Without the id it is another node of the same agent.
      expect((await agent.registerNode(registration("third"))).nodeId).not.toBe(nodeId);
    });

    test("a hostname that another identity holds is refused, until its node is deregistered", async () => {
      const [first, second] = [await fleet.agent(replica, "agent-first"), await fleet.agent(replica, "agent-second")];
      const { nodeId } = await first.registerNode(registration("shared"));
      const taken = { code: "ALREADY_EXISTS", reason: "HostnameTaken", details: { field: "hostname" } };
      expect(await refusal(second.registerNode(registration("shared")))).toMatchObject(taken);
      expect(await refusal(second.registerNode(registration("Shared")))).toMatchObject(taken);
      expect(await refusal(admin.registerNode(registration("shared")))).toMatchObject(taken);
      await admin.deregisterNode({ nodeId });
      const { nodeId: other } = await second.registerNode(registration("shared"));
      expect(other).not.toBe(nodeId);
      expect(await refusal(admin.admitNode({ nodeId }))).toMatchObject(taken);
    });

    test("the agent of a deregistered node is refused under any name, until it is admitted", async () => {
      const agent = await fleet.agent(replica, "agent-out");
      const { nodeId } = await agent.registerNode(registration("out"));
      await admin.deregisterNode({ nodeId });
      const refused = { code: "FAILED_PRECONDITION", reason: "NodeDeregistered", details: { id: nodeId } };
      expect(await refusal(agent.registerNode(registration("out")))).toMatchObject(refused);
      expect(await refusal(agent.registerNode(registration("out", { nodeId })))).toMatchObject(refused);
      expect(await refusal(agent.registerNode(registration("other-name")))).toMatchObject(refused);
      expect(await refusal(agent.heartbeat({ nodeId, status: NodeStatus.READY }))).toMatchObject(refused);
      await admin.admitNode({ nodeId });
      expect((await agent.registerNode(registration("out"))).nodeId).toBe(nodeId);
    });

    test("a request id makes a registration happen once", async () => {
      const nodeId = await register("once", { clientRequestId: "request-1" });
      await admin.updateNode({ nodeId, zone: "kept" });
      expect(await register("once", { clientRequestId: "request-1", zone: "other" })).toBe(nodeId);
      expect(await admin.getNode({ nodeId })).toMatchObject({ zone: "kept" });
      const misused = await refusal(register("another", { clientRequestId: "request-1" }));
      expect(misused).toMatchObject({ code: "INVALID_ARGUMENT", details: { field: "client_request_id" } });
    });

    test("250 nodes come in pages, each once, in the order of their names", async () => {
      const hostnames = Array.from({ length: 250 }, (_, index) => `page-${String(index).padStart(3, "0")}`);
      for (const hostname of [...hostnames].sort(() => Math.random() - 0.5)) await register(hostname);
      const seen: string[] = [];
      const sizes: number[] = [];
      let pageToken = "";
      do {
        const page = await admin.listNodes({ name: "page-", pageSize: 100, pageToken });
        expect(page.totalCount).toBe(250);
        sizes.push(page.nodes.length);
        seen.push(...page.nodes.map((node) => node.hostname));
        pageToken = page.nextPageToken;
      } while (pageToken !== "");
      expect(sizes).toEqual([100, 100, 50]);
      expect(seen).toEqual(hostnames);
      expect((await admin.listNodes({ name: "page-" })).nodes).toHaveLength(20);
    });

    test("filters leave out what does not match", async () => {
      const nodeId = await register("filtered", { role: NodeRole.MASTER, kind: NodeKind.STORAGE, region: "north", zone: "n1" });
      await register("filtered-2", { region: "north", zone: "n2" });
      const names = async (filter: Parameters<ClusterClient["listNodes"]>[0]) =>
        (await admin.listNodes({ name: "filtered", ...filter })).nodes.map(({ hostname }) => hostname);
      expect(await names({})).toEqual(["filtered", "filtered-2"]);
      expect(await names({ role: NodeRole.MASTER })).toEqual(["filtered"]);
      expect(await names({ kind: NodeKind.STORAGE })).toEqual(["filtered"]);
      expect(await names({ region: "north", zone: "n2" })).toEqual(["filtered-2"]);
      expect(await names({ region: "south" })).toEqual([]);
      expect(await names({ name: "%" })).toEqual([]);
      await admin.heartbeat({ nodeId, status: NodeStatus.READY });
      expect(await names({ status: NodeStatus.READY })).toEqual(["filtered"]);
      expect(await names({ status: NodeStatus.PENDING })).toEqual(["filtered-2"]);
    });

    test("text that a database cannot hold is refused before it gets there", async () => {
      const nodeId = await register("texts");
      const refused = (field: string) => ({ code: "INVALID_ARGUMENT", details: { field } });
      const nul = "a\u0000b";
      const label = admin.updateNode({ nodeId, labels: { entries: { key: nul } } });
      expect(await refusal(label)).toMatchObject(refused("labels"));
      const message = { type: "Ready", status: "True", message: nul };
      expect(await refusal(admin.heartbeat({ nodeId, status: NodeStatus.READY, conditions: [message] }))).toMatchObject(
        refused("conditions[0].message"),
      );
      expect(await refusal(admin.getNode({ nodeId: nul }))).toMatchObject(refused("node_id"));
      expect(await refusal(admin.heartbeat({ nodeId: nul, status: NodeStatus.READY }))).toMatchObject(refused("node_id"));
    });

    test("the totals count nodes of every status, deregistered ones left out", async () => {
      const before = await admin.getClusterInfo({});
      const nodeId = await register("counted", { capacity: { cpuCores: 7, memoryBytes: 2 ** 50, diskBytes: 11, gpuCount: 3 } });
      await admin.heartbeat({
        nodeId,
        status: NodeStatus.READY,
        allocated: { cpuCores: 1, memoryBytes: 2 ** 49, diskBytes: 1, gpuCount: 1 },
      });
      const after = await admin.getClusterInfo({});
      expect(after).toMatchObject({ clusterName: "the fleet", totalNodes: before.totalNodes + 1, readyNodes: before.readyNodes + 1 });
      expect(after.totalCapacity!.memoryBytes).toBe(before.totalCapacity!.memoryBytes + 2 ** 50);
      expect(after.totalAllocated!.gpuCount).toBe(before.totalAllocated!.gpuCount + 1);
      await admin.deregisterNode({ nodeId });
      expect(await admin.getClusterInfo({})).toEqual(before);
    });

    test("the metrics count the nodes by status", async () => {
      const text = await replica.metrics.text();
      const { totalNodes, readyNodes } = await admin.getClusterInfo({});
      expect(totalNodes).toBeGreaterThan(readyNodes);
      expect(text).toContain(`fleetgraph_nodes{status="READY"} ${readyNodes}`);
      expect(text).toContain("fleetgraph_mass_lease_expiry 0");
    });
  });
}
