import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { FleetError } from "../../../platform/errors/fleet-error.ts";
import { NodeRole, NodeStatus } from "../../../schema/generated/proto/hypervisor/v1/cluster.ts";
import { CLUSTERS_VARIANTS, type ClusterClient, ClustersFleet, type ClustersReplica, registration } from "../../support/clusters-fleet.ts";
import { describeWithPeers } from "../../support/peers.ts";

/** The error that a call ends with. */
async function refusal(call: Promise<unknown>): Promise<FleetError> {
  try {
    await call;
  } catch (error) {
    if (error instanceof FleetError) return error;
    throw error;
  }
  throw new Error("The call was accepted.");
}

for (const variant of CLUSTERS_VARIANTS) {
  describeWithPeers(`nodes on ${variant.name}`, variant.peers, () => {
    let fleet: ClustersFleet;
    let replica: ClustersReplica;
    let admin: ClusterClient;

    beforeAll(async () => {
      fleet = await ClustersFleet.open(variant.name);
      replica = await fleet.replica();
      admin = await fleet.user(replica, "admin");
    });
    afterAll(() => fleet?.close());

    test("register, heartbeat, get, list, update, deregister and admit over gRPC", async () => {
      const { nodeId, heartbeatIntervalSeconds, leaseTtlSeconds, endpoints } = await admin.registerNode(registration("walk-1"));
      expect(nodeId).toMatch(/^node-[a-z0-9]{16}$/);
      expect([heartbeatIntervalSeconds, leaseTtlSeconds]).toEqual([10, 30]);
      expect(endpoints).toHaveLength(1);
      expect(await admin.getNode({ nodeId })).toMatchObject({ hostname: "walk-1", status: NodeStatus.PENDING, lastSeen: undefined });
      const allocated = { cpuCores: 8, memoryBytes: 34359738368, diskBytes: 0, gpuCount: 0 };
      expect(await admin.heartbeat({ nodeId, status: NodeStatus.READY, allocated })).toMatchObject({
        accepted: true,
        nextHeartbeatSeconds: 10,
      });
      const node = await admin.getNode({ nodeId });
      expect(node).toMatchObject({ status: NodeStatus.READY, allocated, allocatable: { cpuCores: 64 } });
      expect(node.lastSeen).toBeInstanceOf(Date);
      const list = await admin.listNodes({ name: "WALK", status: NodeStatus.READY });
      expect(list.nodes.map(({ id }) => id)).toEqual([nodeId]);
      expect(list.totalCount).toBe(1);
      const updated = await admin.updateNode({ nodeId, labels: { entries: { rack: "7" } }, zone: "z1" });
      expect(updated).toMatchObject({ zone: "z1", region: "", metadata: { labels: { rack: "7" } } });
      await admin.deregisterNode({ nodeId });
      expect(await admin.getNode({ nodeId })).toMatchObject({ deregistered: true, status: NodeStatus.UNKNOWN });
      expect((await admin.listNodes({ name: "walk" })).totalCount).toBe(0);
      expect((await admin.listNodes({ name: "walk", deregistered: true })).totalCount).toBe(1);
      const refused = await refusal(admin.heartbeat({ nodeId, status: NodeStatus.READY }));
      expect(refused).toMatchObject({ code: "FAILED_PRECONDITION", reason: "NodeDeregistered" });
      expect(await admin.admitNode({ nodeId })).toMatchObject({ deregistered: false, status: NodeStatus.PENDING, zone: "z1" });
    });

    test("an unknown node's heartbeat is not accepted", async () => {
      expect(await admin.heartbeat({ nodeId: "node-abc123", status: NodeStatus.READY })).toMatchObject({ accepted: false });
    });

    test("graphql shows the same node", async () => {
      const { nodeId } = await admin.registerNode(registration("shown-1", { region: "eu", role: NodeRole.MASTER }));
      const result = await fleet.graphql(
        replica,
        "viewer",
        `query ($id: ID!) { node(id: $id) { id hostname role status region capacity { memoryBytes } labels { key value } lastSeen createdAt }
           nodes(filter: { name: "shown" }) { totalCount nodes { id } } clusterInfo { totalNodes massExpiry nodesByStatus { status count } totalCapacity { memoryBytes } } }`,
        { id: nodeId },
      );
      expect(result.errors).toBeUndefined();
      expect(result.data).toMatchObject({
        node: { id: nodeId, role: "MASTER", status: "PENDING", region: "eu", capacity: { memoryBytes: 68719476736 }, lastSeen: null },
        nodes: { totalCount: 1 },
      });
    });
  });
}
