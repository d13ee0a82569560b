import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { grpcClient } from "../../../platform/grpc/client.ts";
import { ClusterServiceDefinition, NodeStatus } from "../../../schema/generated/proto/hypervisor/v1/cluster.ts";
import { ClustersFleet, type ClustersReplica, registration } from "../../support/clusters-fleet.ts";

describe("conditions of other parts", () => {
  let fleet: ClustersFleet;
  let replica: ClustersReplica;
  beforeAll(async () => {
    fleet = await ClustersFleet.open("SQLite");
    replica = await fleet.replica();
  });
  afterAll(() => fleet?.close());
  test("stay through heartbeats and leave the status alone", async () => {
    const agent = await fleet.agent(replica, "a1");
    const { nodeId } = await agent.registerNode(registration("h1"));
    const beat = (status: NodeStatus, more = {}) => agent.heartbeat({ nodeId, status, ...more });
    await beat(NodeStatus.READY, { conditions: [{ type: "DiskPressure", status: "False" }] });
    const compute = grpcClient(ClusterServiceDefinition, fleet.agentChannel(replica, await fleet.ca.issueControl("compute")));
    const node = await compute.updateNodeStatus({
      nodeId,
      conditions: [{ type: "AllocationDrift", status: "True", reason: "R", message: "m" }],
    });
    expect(node.status).toBe(NodeStatus.READY);
    expect(node.conditions.map(({ type, reason }) => `${type} ${reason}`)).toEqual([
      "Ready Heartbeat",
      "AllocationDrift R",
      "DiskPressure ",
    ]);
    await beat(NodeStatus.NOT_READY, { conditions: [{ type: "DiskPressure", status: "True" }] });
    const after = await compute.getNode({ nodeId });
    expect(after.status).toBe(NodeStatus.NOT_READY);
    expect(after.conditions.find(({ type }) => type === "AllocationDrift")?.status).toBe("True");
  });
});
