import { afterAll, beforeAll, expect, test } from "vitest";
import type { FleetError } from "../../../platform/errors/fleet-error.ts";
import { type NodeEvent, NodeStatus } from "../../../schema/generated/proto/hypervisor/v1/cluster.ts";
import { EventType } from "../../../schema/generated/proto/hypervisor/v1/common.ts";
import { CLUSTERS_VARIANTS, type ClusterClient, ClustersFleet, type ClustersReplica, registration } from "../../support/clusters-fleet.ts";
import { describeWithPeers } from "../../support/peers.ts";
import { seededRandom, seedOfRun } from "../../support/random.ts";

const seed = seedOfRun();

for (const variant of CLUSTERS_VARIANTS) {
  describeWithPeers(`races on ${variant.name} (SEED=${seed})`, variant.peers, () => {
    const random = seededRandom(seed);
    let fleet: ClustersFleet;
    let replicas: ClustersReplica[];
    let admins: ClusterClient[];

    beforeAll(async () => {
      fleet = await ClustersFleet.open(variant.name);
      replicas = [await fleet.replica(), await fleet.replica()];
      admins = await Promise.all(replicas.map((replica) => fleet.user(replica, "admin")));
    });
    afterAll(() => fleet?.close());

    const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;

    test("of identities that register one hostname at once, one gets it and the others are told so", async () => {
      const agents = await Promise.all(Array.from({ length: 6 }, (_, index) => fleet.agent(replicas[index % 2]!, `racer-${index}`)));
      for (let round = 0; round < 5; round += 1) {
        const hostname = `wanted-${round}`;
        const outcomes = await Promise.allSettled(agents.map((agent) => agent.registerNode(registration(hostname))));
        expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
        for (const outcome of outcomes) {
          if (outcome.status === "rejected")
            expect(outcome.reason).toMatchObject({ code: "ALREADY_EXISTS", details: { field: "hostname" } });
        }
        expect((await admins[0]!.listNodes({ name: hostname })).totalCount).toBe(1);
      }
    });

    test("one identity that registers its host several times at once has one node", async () => {
      const agents = await Promise.all(replicas.map((replica) => fleet.agent(replica, "eager")));
      const answers = await Promise.all(Array.from({ length: 8 }, (_, index) => agents[index % 2]!.registerNode(registration("eager"))));
      expect(new Set(answers.map(({ nodeId }) => nodeId)).size).toBe(1);
    });

    test("a heartbeat that crosses a deregistration never brings the node back", async () => {
      const agent = await fleet.agent(replicas[0]!, "crossed");
      const { nodeId } = await agent.registerNode(registration("crossed"));
      for (let round = 0; round < 10; round += 1) {
        await agent.heartbeat({ nodeId, status: NodeStatus.READY });
        const beats = [NodeStatus.NOT_READY, NodeStatus.READY, NodeStatus.NOT_READY].map((status) =>
          agent.heartbeat({ nodeId, status }).catch((error: FleetError) => expect(error.reason).toBe("NodeDeregistered")),
        );
        await Promise.all([...beats, pick(admins).deregisterNode({ nodeId })]);
        expect(await pick(admins).getNode({ nodeId })).toMatchObject({ deregistered: true, status: NodeStatus.UNKNOWN });
        await pick(admins).admitNode({ nodeId });
      }
    });

    test("after any mix of changes on two replicas, the events add up to what the list shows", async () => {
      const after = (await admins[0]!.listNodes({})).watchCursor;
      const ids = await Promise.all(
        Array.from({ length: 6 }, async (_, index) => (await pick(admins).registerNode(registration(`mixed-${index}`))).nodeId),
      );
      const operations: Array<(nodeId: string) => Promise<unknown>> = [
        (nodeId) => pick(admins).heartbeat({ nodeId, status: pick([NodeStatus.READY, NodeStatus.NOT_READY]) }),
        (nodeId) => pick(admins).updateNode({ nodeId, zone: `zone-${Math.floor(random() * 5)}` }),
        (nodeId) => pick(admins).updateNodeStatus({ nodeId, status: pick([NodeStatus.READY, NodeStatus.UNKNOWN]) }),
        (nodeId) => pick(admins).deregisterNode({ nodeId }),
        (nodeId) => pick(admins).admitNode({ nodeId }),
      ];
      for (let round = 0; round < 15; round += 1) {
        await Promise.all(
          Array.from({ length: 8 }, () =>
            pick(operations)(pick(ids)).catch((error: FleetError) => expect(error.code).toBe("FAILED_PRECONDITION")),
          ),
        );
      }
      // A last event of each node, so that the end of the log is known.
      for (const nodeId of ids) await admins[0]!.admitNode({ nodeId });
      const { nodeId: last } = await admins[1]!.registerNode(registration("mixed-last"));
      const shown = new Map<string, NodeEvent["node"]>();
      for await (const { eventType, node } of admins[1]!.watchNodes({ after })) {
        expect(shown.has(node!.id)).toBe(eventType !== EventType.ADDED);
        if (eventType === EventType.DELETED) shown.delete(node!.id);
        else shown.set(node!.id, node);
        if (node!.id === last) break;
      }
      const { nodes } = await admins[0]!.listNodes({ name: "mixed", pageSize: 100 });
      const comparable = (node: NodeEvent["node"]) => ({ ...node!, lastSeen: undefined });
      expect([...shown.values()].map(comparable).sort((a, b) => (a.hostname < b.hostname ? -1 : 1))).toEqual(nodes.map(comparable));
    });
  });
}
