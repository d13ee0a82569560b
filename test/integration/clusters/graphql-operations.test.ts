import { afterAll, beforeAll, expect, test } from "vitest";
import { NodeStatus } from "../../../schema/generated/proto/hypervisor/v1/cluster.ts";
import {
  CLUSTERS_VARIANTS,
  type ClusterClient,
  ClustersFleet,
  type ClustersReplica,
  graphqlRefusal,
} from "../../support/clusters-fleet.ts";
import { describeWithPeers } from "../../support/peers.ts";

const REGISTER = `mutation ($input: RegisterNodeInput!) {
  registerNode(input: $input) { heartbeatIntervalSeconds leaseTtlSeconds node { id hostname ip port role kind status availability region
    capacity { cpuCores memoryBytes diskBytes gpuCount } allocatable { cpuCores } allocated { cpuCores }
    supportedInstanceTypes labels { key value } lastSeen deregistered agentId createdAt } } }`;

const input = (hostname: string, rest: Record<string, unknown> = {}) => ({
  hostname,
  ip: "10.0.0.1",
  port: 50052,
  role: "WORKER",
  capacity: { cpuCores: 4, memoryBytes: 8589934592 },
  supportedInstanceTypes: ["vm"],
  ...rest,
});

for (const variant of CLUSTERS_VARIANTS) {
  describeWithPeers(`GraphQL on ${variant.name}`, variant.peers, () => {
    let fleet: ClustersFleet;
    let replica: ClustersReplica;
    let grpc: ClusterClient;

    beforeAll(async () => {
      fleet = await ClustersFleet.open(variant.name);
      replica = await fleet.replica();
      grpc = await fleet.user(replica, "admin");
    });
    afterAll(() => fleet?.close());

    // biome-ignore lint/suspicious/noExplicitAny: answers are looked at field by field
    async function data(query: string, variables?: Record<string, unknown>): Promise<any> {
      const result = await fleet.graphql(replica, "admin", query, variables);
      expect(result.errors).toBeUndefined();
      return result.data;
    }
    const register = async (hostname: string, rest = {}): Promise<string> =>
      (await data(REGISTER, { input: input(hostname, rest) })).registerNode.node.id;

    test("registerNode answers with the node and what its agent needs to know", async () => {
      const { registerNode } = await data(REGISTER, {
        input: input("reg", {
          labels: [
            { key: "b", value: "2" },
            { key: "a", value: "1" },
          ],
        }),
      });
      expect(registerNode).toEqual({
        heartbeatIntervalSeconds: 10,
        leaseTtlSeconds: 30,
        node: {
          id: expect.stringMatching(/^node-/),
          hostname: "reg",
          ip: "10.0.0.1",
          port: 50052,
          role: "WORKER",
          kind: "COMPUTE",
          status: "PENDING",
          availability: "OFFLINE",
          region: null,
          capacity: { cpuCores: 4, memoryBytes: 8589934592, diskBytes: 0, gpuCount: 0 },
          allocatable: { cpuCores: 16 },
          allocated: null,
          supportedInstanceTypes: ["vm"],
          labels: [
            { key: "a", value: "1" },
            { key: "b", value: "2" },
          ],
          lastSeen: null,
          deregistered: false,
          agentId: null,
          createdAt: expect.stringMatching(/Z$/),
        },
      });
    });

    test("clientRequestId makes the creation happen once", async () => {
      const id = await register("gql-once", { clientRequestId: "r-1" });
      expect(await register("gql-once", { clientRequestId: "r-1", region: "other" })).toBe(id);
      expect((await data("query ($id: ID!) { node(id: $id) { region } }", { id })).node.region).toBeNull();
    });

    test("heartbeat makes it READY and ONLINE, with conditions and allocation", async () => {
      const nodeId = await register("beat");
      const { heartbeat } = await data(
        `mutation ($input: HeartbeatInput!) { heartbeat(input: $input) { accepted nextHeartbeatSeconds commands { id } receivedAt } }`,
        {
          input: {
            nodeId,
            status: "READY",
            conditions: [{ type: "DiskPressure", status: "False", reason: "Enough" }],
            allocated: { cpuCores: 1, memoryBytes: 5 },
            sentAt: new Date().toISOString(),
          },
        },
      );
      expect(heartbeat).toMatchObject({ accepted: true, nextHeartbeatSeconds: 10, commands: [] });
      const { node } = await data(
        "query ($id: ID!) { node(id: $id) { status availability allocated { memoryBytes } conditions { type status reason } lastSeen } }",
        { id: nodeId },
      );
      expect(node).toEqual({
        status: "READY",
        availability: "ONLINE",
        allocated: { memoryBytes: 5 },
        conditions: [
          { type: "Ready", status: "True", reason: "Heartbeat" },
          { type: "DiskPressure", status: "False", reason: "Enough" },
        ],
        lastSeen: heartbeat.receivedAt,
      });
    });

    test("updateNode leaves as it is what is left out, and clears what is null", async () => {
      const nodeId = await register("patched", { region: "r", zone: "z", labels: [{ key: "k", value: "v" }] });
      const update = (patch: Record<string, unknown>) =>
        data(
          `mutation ($input: UpdateNodeInput!) { updateNode(input: $input) { node { region zone labels { key value } annotations { key value } } } }`,
          { input: { nodeId, ...patch } },
        ).then(({ updateNode }) => updateNode.node);
      expect(await update({ region: "r2", annotations: [{ key: "a", value: "" }] })).toEqual({
        region: "r2",
        zone: "z",
        labels: [{ key: "k", value: "v" }],
        annotations: [{ key: "a", value: "" }],
      });
      expect(await update({ zone: null, labels: null })).toMatchObject({
        region: "r2",
        zone: null,
        labels: [],
        annotations: [{ key: "a" }],
      });
      expect(await update({})).toMatchObject({ region: "r2", zone: null });
    });

    test("updateNodeStatus, deregisterNode and admitNode answer with the changed node", async () => {
      const nodeId = await register("changed");
      const { updateNodeStatus } = await data(
        `mutation ($id: ID!) { updateNodeStatus(input: { nodeId: $id, status: NOT_READY, conditions: [{ type: "Fan", status: "False" }] }) { node { status conditions { type status reason } } } }`,
        { id: nodeId },
      );
      expect(updateNodeStatus.node).toEqual({
        status: "NOT_READY",
        conditions: [
          { type: "Ready", status: "False", reason: "SetByHand" },
          { type: "Fan", status: "False", reason: "" },
        ],
      });
      const change = async (mutation: string) =>
        (await data(`mutation ($id: ID!) { change: ${mutation}(input: { nodeId: $id }) { node { status deregistered } } }`, { id: nodeId }))
          .change.node;
      expect(await change("deregisterNode")).toEqual({ status: "UNKNOWN", deregistered: true });
      expect(await change("admitNode")).toEqual({ status: "PENDING", deregistered: false });
    });

    test("commands are repeated with every answer until they are acknowledged", async () => {
      const nodeId = await register("commanded");
      const send = (parameters: unknown) =>
        data(
          `mutation ($id: ID!, $parameters: [KeyValueInput!]) { sendNodeCommand(input: { nodeId: $id, type: DRAIN, parameters: $parameters }) { command { id type parameters { key value } } } }`,
          { id: nodeId, parameters },
        ).then(({ sendNodeCommand }) => sendNodeCommand.command);
      const first = await send([{ key: "grace", value: "60" }]);
      expect(first).toMatchObject({ type: "DRAIN", parameters: [{ key: "grace", value: "60" }] });
      const second = await send(null);
      const beat = async (acknowledgedCommandIds: string[] = []) =>
        (await grpc.heartbeat({ nodeId, status: NodeStatus.READY, acknowledgedCommandIds })).commands;
      expect(await beat()).toEqual([
        { id: first.id, type: "drain", parameters: { grace: "60" } },
        { id: second.id, type: "drain", parameters: {} },
      ]);
      expect(await beat()).toHaveLength(2);
      expect(await beat([first.id, "cmd-of-another"])).toMatchObject([{ id: second.id }]);
      expect(await beat()).toMatchObject([{ id: second.id }]);
      expect(await beat([second.id])).toEqual([]);
      expect(await beat([second.id])).toEqual([]);
    });

    test("nodes pages forward with cursors and a watch cursor", async () => {
      for (const index of [1, 2, 3, 4, 5]) await register(`paged-${index}`);
      const page = async (after: string | null) =>
        (
          await data(
            `query ($after: String) { nodes(first: 2, after: $after, filter: { name: "paged-", status: null }) {
               totalCount watchCursor nodes { hostname } edges { cursor node { hostname } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }`,
            { after },
          )
        ).nodes;
      const first = await page(null);
      expect(first).toMatchObject({ totalCount: 5, nodes: [{ hostname: "paged-1" }, { hostname: "paged-2" }] });
      expect(first.pageInfo).toEqual({
        hasNextPage: true,
        hasPreviousPage: false,
        startCursor: first.edges[0].cursor,
        endCursor: first.edges[1].cursor,
      });
      const second = await page(first.pageInfo.endCursor);
      const third = await page(second.pageInfo.endCursor);
      expect(third).toMatchObject({ nodes: [{ hostname: "paged-5" }], pageInfo: { hasNextPage: false, hasPreviousPage: true } });
      expect(third.watchCursor).toEqual(expect.any(String));
    });

    test("nodes filters by availability, and by null not at all", async () => {
      await register("avail-1");
      const online = await register("avail-2");
      await grpc.heartbeat({ nodeId: online, status: NodeStatus.READY });
      const names = async (filter: Record<string, unknown> | null) =>
        (await data("query ($filter: NodeFilter) { nodes(filter: $filter) { nodes { hostname } } }", { filter })).nodes.nodes.map(
          ({ hostname }: { hostname: string }) => hostname,
        );
      expect(await names({ name: "avail", availability: "ONLINE" })).toEqual(["avail-2"]);
      expect(await names({ name: "avail", availability: "OFFLINE" })).toEqual(["avail-1"]);
      expect(await names({ name: "avail", availability: "MAINTENANCE" })).toEqual([]);
      expect(await names({ name: "avail", availability: null })).toEqual(["avail-1", "avail-2"]);
    });

    test("clusterInfo says which statuses its totals count", async () => {
      const { clusterInfo } = await data(
        "{ clusterInfo { clusterName totalNodes readyNodes massExpiry nodesByStatus { status count } totalCapacity { memoryBytes } } }",
      );
      expect(clusterInfo).toMatchObject({ clusterName: "fleetgraph", massExpiry: false });
      const counts = clusterInfo.nodesByStatus.map(({ count }: { count: number }) => count);
      expect(clusterInfo.nodesByStatus.map(({ status }: { status: string }) => status)).toEqual([
        "PENDING",
        "READY",
        "NOT_READY",
        "UNKNOWN",
      ]);
      expect(counts.reduce((sum: number, count: number) => sum + count, 0)).toBe(clusterInfo.totalNodes);
    });

    test("references are resolved in one batch, an unknown one is null", async () => {
      const id = await register("referred");
      const { _entities } = await data(
        "query ($representations: [_Any!]!) { _entities(representations: $representations) { ... on Node { id hostname } } }",
        {
          representations: [
            { __typename: "Node", id },
            { __typename: "Node", id: "node-nowhere" },
          ],
        },
      );
      expect(_entities).toEqual([{ id, hostname: "referred" }, null]);
    });

    test("an enum value that does not exist is refused as GraphQL clients know it", async () => {
      const literal = await fleet.graphql(replica, "admin", "{ nodes(filter: { role: JANITOR }) { totalCount } }");
      expect(graphqlRefusal(literal)).toMatchObject({ code: "GRAPHQL_VALIDATION_FAILED" });
      const variable = await fleet.graphql(replica, "admin", REGISTER, { input: input("x", { role: "JANITOR" }) });
      expect(graphqlRefusal(variable)).toMatchObject({ code: "BAD_USER_INPUT" });
    });
  });
}
