import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createLogger } from "../../../platform/observability/log.ts";
import { systemContext } from "../../../platform/request-context.ts";
import { NodeStatus } from "../../../schema/generated/proto/hypervisor/v1/cluster.ts";
import { CLUSTERS_VARIANTS, type ClusterClient, ClustersFleet, type ClustersReplica, registration } from "../../support/clusters-fleet.ts";
import { describeWithPeers } from "../../support/peers.ts";
import { until } from "../../support/until.ts";

/** A lease of a second, judged often: these tests wait for outcomes, never for a time. */
const QUICK = { heartbeatIntervalSeconds: 1, leaseTtlSeconds: 1, sweepIntervalMs: 40, livenessIntervalMs: 120 };

for (const variant of CLUSTERS_VARIANTS) {
  describeWithPeers(`leases on ${variant.name}`, variant.peers, () => {
    let fleet: ClustersFleet;

    beforeEach(async () => {
      fleet = await ClustersFleet.open(variant.name);
    });
    afterEach(() => fleet?.close());

    async function readyNode(admin: ClusterClient, hostname: string): Promise<string> {
      const { nodeId } = await admin.registerNode(registration(hostname));
      await admin.heartbeat({ nodeId, status: NodeStatus.READY });
      return nodeId;
    }
    const statusOf = async (client: ClusterClient, nodeId: string) => (await client.getNode({ nodeId })).status;
    const becomes = (client: ClusterClient, nodeId: string, status: NodeStatus) =>
      until(async () => (await statusOf(client, nodeId)) === status, `${status}`, 20_000);

    /** Keeps a node alive until the function that it returns is called. */
    function beating(client: ClusterClient, nodeId: string): () => Promise<void> {
      const stop = new AbortController();
      const loop = (async () => {
        while (!stop.signal.aborted) {
          await client.heartbeat({ nodeId, status: NodeStatus.READY });
          await delay(200, undefined, { signal: stop.signal }).catch(() => undefined);
        }
      })();
      return async () => {
        stop.abort();
        await loop;
      };
    }

    async function replicaWithAdmin(): Promise<[ClustersReplica, ClusterClient]> {
      const replica = await fleet.replica(QUICK);
      return [replica, await fleet.user(replica, "admin")];
    }

    test("a node that falls silent is UNKNOWN once, stays in the list, and is READY with its next heartbeat", async () => {
      const [, admin] = await replicaWithAdmin();
      const after = (await admin.listNodes({})).watchCursor;
      const nodeId = await readyNode(admin, "silent");
      const lively = await readyNode(admin, "lively");
      const stop = beating(admin, lively);
      await becomes(admin, nodeId, NodeStatus.UNKNOWN);
      const node = await admin.getNode({ nodeId });
      expect(node.conditions).toMatchObject([{ type: "Ready", status: "Unknown", reason: "LeaseExpired" }]);
      expect((await admin.listNodes({ status: NodeStatus.UNKNOWN })).nodes.map(({ id }) => id)).toEqual([nodeId]);
      // Several more rounds of judging change nothing.
      await delay(500);
      await admin.heartbeat({ nodeId, status: NodeStatus.READY });
      await becomes(admin, nodeId, NodeStatus.READY);
      expect(await statusOf(admin, lively)).toBe(NodeStatus.READY);
      await stop();
      const statuses: NodeStatus[] = [];
      for await (const { node: seen } of admin.watchNodes({ after, nodeIds: [nodeId] })) {
        statuses.push(seen!.status);
        if (statuses.length === 4) break;
      }
      expect(statuses).toEqual([NodeStatus.PENDING, NodeStatus.READY, NodeStatus.UNKNOWN, NodeStatus.READY]);
    });

    test("a node without a heartbeat has no lease: PENDING stays, and so does a status by hand", async () => {
      const [, admin] = await replicaWithAdmin();
      const { nodeId: pending } = await admin.registerNode(registration("pending"));
      const { nodeId: byHand } = await admin.registerNode(registration("by-hand"));
      await admin.updateNodeStatus({ nodeId: byHand, status: NodeStatus.READY });
      const silent = await readyNode(admin, "silent");
      await becomes(admin, silent, NodeStatus.UNKNOWN);
      expect(await statusOf(admin, pending)).toBe(NodeStatus.PENDING);
      expect(await statusOf(admin, byHand)).toBe(NodeStatus.READY);
    });

    test("many nodes that are lost at once raise the flag, and nothing else happens", async () => {
      const [replica, admin] = await replicaWithAdmin();
      for (const index of [1, 2, 3]) await readyNode(admin, `lost-${index}`);
      await until(async () => (await admin.listNodes({ status: NodeStatus.UNKNOWN })).totalCount === 3, "three UNKNOWN nodes");
      const { data } = await fleet.graphql(replica, "viewer", "{ clusterInfo { massExpiry totalNodes } }");
      expect(data).toEqual({ clusterInfo: { massExpiry: true, totalNodes: 3 } });
      expect(await replica.metrics.text()).toContain("fleetgraph_mass_lease_expiry 1");
    });

    test("a node that is heard by one replica does not expire at the other", async () => {
      const [, first] = await replicaWithAdmin();
      const [, second] = await replicaWithAdmin();
      const nodeId = await readyNode(first, "heard-by-first");
      const silent = await readyNode(second, "silent");
      const after = (await first.listNodes({})).watchCursor;
      const stop = beating(first, nodeId);
      await becomes(second, silent, NodeStatus.UNKNOWN);
      // Both replicas have judged for several leases.
      await delay(3_000);
      await stop();
      await becomes(first, nodeId, NodeStatus.UNKNOWN);
      const events: string[] = [];
      for await (const { node } of first.watchNodes({ after })) {
        events.push(`${node!.hostname} ${node!.status}`);
        if (events.length === 2) break;
      }
      // Each change was made by one of them only.
      expect(events).toEqual([`silent ${NodeStatus.UNKNOWN}`, `heard-by-first ${NodeStatus.UNKNOWN}`]);
    });

    test("a heartbeat at one replica is judged by what the other has stored", async () => {
      const [, first] = await replicaWithAdmin();
      const [secondReplica, second] = await replicaWithAdmin();
      const nodeId = await readyNode(first, "moves");
      await second.heartbeat({ nodeId, status: NodeStatus.READY });
      await first.heartbeat({ nodeId, status: NodeStatus.NOT_READY });
      expect(await statusOf(second, nodeId)).toBe(NodeStatus.NOT_READY);
      // Once the second has heard of that, READY is news to it.
      await until(async () => {
        await second.heartbeat({ nodeId, status: NodeStatus.READY });
        return (await statusOf(first, nodeId)) === NodeStatus.READY;
      }, "READY through the second replica");
      const admin = systemContext("test", AbortSignal.timeout(60_000), createLogger({ name: "test", level: "silent" }));
      const { id } = await secondReplica.subgraph.services.commands.send(admin, nodeId, "upgrade", {});
      await until(
        async () => (await first.heartbeat({ nodeId, status: NodeStatus.READY })).commands[0]?.id === id,
        "the command at the first",
      );
      await first.heartbeat({ nodeId, status: NodeStatus.READY, acknowledgedCommandIds: [id] });
      await until(
        async () => (await second.heartbeat({ nodeId, status: NodeStatus.READY })).commands.length === 0,
        "no command at the second",
      );
      await first.deregisterNode({ nodeId });
      await until(
        () =>
          second.heartbeat({ nodeId, status: NodeStatus.READY }).then(
            () => false,
            ({ reason }) => reason === "NodeDeregistered",
          ),
        "the refusal at the second",
      );
    });

    test("after a restart every node gets a full lease, and keeps its status and its time", async () => {
      const [replica, admin] = await replicaWithAdmin();
      const nodeId = await readyNode(admin, "survivor");
      const { lastSeen } = await admin.getNode({ nodeId });
      await replica.stop();
      await delay(1_500);
      const [, again] = await replicaWithAdmin();
      expect(await again.getNode({ nodeId })).toMatchObject({ status: NodeStatus.READY, lastSeen });
      const after = (await again.listNodes({})).watchCursor;
      expect(await again.heartbeat({ nodeId, status: NodeStatus.READY })).toMatchObject({ accepted: true });
      await becomes(again, nodeId, NodeStatus.UNKNOWN);
      for await (const { node } of again.watchNodes({ after })) {
        // The heartbeat after the restart was no news.
        expect(node!.status).toBe(NodeStatus.UNKNOWN);
        break;
      }
    });

    test("clock skew becomes a condition, and goes when the clocks agree again", async () => {
      const [, admin] = await replicaWithAdmin();
      const { nodeId } = await admin.registerNode(registration("skewed"));
      const beat = (aheadMs: number) => admin.heartbeat({ nodeId, status: NodeStatus.READY, sentAt: new Date(Date.now() + aheadMs) });
      const skew = async () => (await admin.getNode({ nodeId })).conditions.find(({ type }) => type === "ClockSkew");
      await beat(60_000);
      expect(await skew()).toBeUndefined();
      await beat(60_000);
      expect(await skew()).toMatchObject({ status: "True", reason: "ClockOutOfStep" });
      await beat(0);
      await beat(0);
      expect(await skew()).toMatchObject({ status: "False" });
    });
  });
}
