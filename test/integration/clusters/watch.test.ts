import { afterAll, beforeAll, expect, test } from "vitest";
import { type NodeEvent, NodeStatus, type WatchNodesRequest } from "../../../schema/generated/proto/hypervisor/v1/cluster.ts";
import type { EventType } from "../../../schema/generated/proto/hypervisor/v1/common.ts";
import { CLUSTERS_VARIANTS, type ClusterClient, ClustersFleet, type ClustersReplica, registration } from "../../support/clusters-fleet.ts";
import { describeWithPeers } from "../../support/peers.ts";

/** "ADDED w-1 READY" */
function line({ eventType, node }: NodeEvent): string {
  const type = eventType.replace("EVENT_TYPE_", "");
  return node ? `${type} ${node.hostname} ${node.status.replace("NODE_STATUS_", "")}` : type;
}

for (const variant of CLUSTERS_VARIANTS) {
  describeWithPeers(`watching nodes on ${variant.name}`, variant.peers, () => {
    let fleet: ClustersFleet;
    let replica: ClustersReplica;
    let admin: ClusterClient;
    let viewer: ClusterClient;

    beforeAll(async () => {
      fleet = await ClustersFleet.open(variant.name);
      replica = await fleet.replica();
      admin = await fleet.user(replica, "admin");
      viewer = await fleet.user(replica, "viewer");
    });
    afterAll(() => fleet?.close());

    const register = async (hostname: string, rest = {}) => (await admin.registerNode(registration(hostname, rest))).nodeId;
    const beat = (nodeId: string, status: NodeStatus) => admin.heartbeat({ nodeId, status });
    const now = async () => (await admin.listNodes({ pageSize: 1 })).watchCursor;

    /** Reads so many events, then hangs up. */
    async function take(count: number, request: Partial<WatchNodesRequest>): Promise<NodeEvent[]> {
      const events: NodeEvent[] = [];
      for await (const event of viewer.watchNodes(request)) {
        events.push(event);
        if (events.length === count) break;
      }
      return events;
    }

    test("shows each change with the node as it then was, and no bookmark to who asked for none", async () => {
      const after = await now();
      const id = await register("w-1");
      await beat(id, NodeStatus.READY);
      await beat(id, NodeStatus.READY);
      await admin.updateNode({ nodeId: id, labels: { entries: { a: "b" } } });
      await beat(id, NodeStatus.NOT_READY);
      await admin.deregisterNode({ nodeId: id });
      await admin.admitNode({ nodeId: id });
      const events = await take(6, { after });
      expect(events.map(line)).toEqual([
        "ADDED w-1 PENDING",
        "MODIFIED w-1 READY",
        "MODIFIED w-1 READY",
        "MODIFIED w-1 NOT_READY",
        "DELETED w-1 UNKNOWN",
        "ADDED w-1 PENDING",
      ]);
      expect(events[4]!.node).toMatchObject({ id, deregistered: true, metadata: { labels: { a: "b" } } });
    });

    test("goes on behind any cursor, without gap or repeat", async () => {
      const after = await now();
      const id = await register("w-2");
      for (const status of [NodeStatus.READY, NodeStatus.NOT_READY, NodeStatus.READY]) await beat(id, status);
      const all = await take(4, { after });
      for (let index = 0; index < 3; index += 1) {
        const rest = await take(3 - index, { after: all[index]!.cursor });
        expect(rest).toEqual(all.slice(index + 1));
      }
    });

    test("with a snapshot shows what exists, then a bookmark, then changes", async () => {
      const id = await register("w-3");
      const iterator = viewer.watchNodes({ snapshot: true, bookmarks: true, nodeIds: [id] })[Symbol.asyncIterator]();
      const next = async () => line((await iterator.next()).value as NodeEvent);
      expect(await next()).toBe("ADDED w-3 PENDING");
      expect(await next()).toBe("BOOKMARK");
      await beat(id, NodeStatus.READY);
      expect(await next()).toBe("MODIFIED w-3 READY");
      await iterator.return?.();
    });

    test("takes the list's filter: who enters it is ADDED, who leaves it DELETED", async () => {
      const after = await now();
      const id = await register("w-4", { region: "here" });
      const elsewhere = await register("w-5", { region: "there" });
      await beat(id, NodeStatus.READY);
      await beat(elsewhere, NodeStatus.READY);
      await admin.updateNode({ nodeId: id, zone: "z" });
      await admin.updateNode({ nodeId: id, region: "there" });
      const events = await take(3, { after, region: "here", status: NodeStatus.READY });
      expect(events.map(line)).toEqual(["ADDED w-4 READY", "MODIFIED w-4 READY", "DELETED w-4 READY"]);
    });

    test("over GraphQL: list, then watch from the list's cursor; a socket that was cut goes on", async () => {
      const headers = await fleet.headers("viewer");
      const { data } = await fleet.graphql(replica, "viewer", "{ nodes { watchCursor } }");
      let after = (data as { nodes: { watchCursor: string } }).nodes.watchCursor;
      const id = await register("w-6");
      const expected = ["ADDED", "MODIFIED", "DELETED"];
      await beat(id, NodeStatus.READY);
      await admin.deregisterNode({ nodeId: id });
      for (const type of expected) {
        const events = replica.subgraph.handler.subscribe({
          query:
            "subscription ($after: String, $ids: [ID!]) { nodeEvents(after: $after, nodeIds: $ids) { type cursor timestamp node { id hostname labels { key } } } }",
          variables: { after, ids: [id] },
          headers,
        });
        const { nodeEvents } = (await events.next()).value.data as { nodeEvents: { type: EventType; cursor: string } };
        expect(nodeEvents).toMatchObject({ type, node: { id, hostname: "w-6" } });
        after = nodeEvents.cursor;
        await events.return?.();
      }
    });

    test("a filter that asks for deregistered nodes is refused: they have no events", async () => {
      const events = replica.subgraph.handler.subscribe({
        query: "subscription { nodeEvents(filter: { deregistered: true }) { type } }",
        headers: await fleet.headers("viewer"),
      });
      expect((await events.next()).value.errors?.[0]?.extensions).toMatchObject({ code: "INVALID_ARGUMENT", field: "filter.deregistered" });
    });

    test("ends with DRAINING when the subgraph stops", async () => {
      const second = await fleet.replica();
      const events = second.subgraph.handler.subscribe({
        query: "subscription { nodeEvents { type } }",
        headers: await fleet.headers("viewer"),
      });
      const last = events.next();
      await second.stop();
      expect((await last).value.errors?.[0]?.extensions).toMatchObject({ code: "DRAINING" });
    });
  });
}
