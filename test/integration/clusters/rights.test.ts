import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { FleetError } from "../../../platform/errors/fleet-error.ts";
import { grpcClient } from "../../../platform/grpc/client.ts";
import { ClusterServiceDefinition, NodeStatus } from "../../../schema/generated/proto/hypervisor/v1/cluster.ts";
import { type ClusterClient, ClustersFleet, type ClustersReplica, registration } from "../../support/clusters-fleet.ts";

type Caller = "nobody" | "viewer" | "operator" | "admin" | "own agent" | "other agent";
const CALLERS: Caller[] = ["nobody", "viewer", "operator", "admin", "own agent", "other agent"];

interface Operation {
  name: string;
  /** Who may; everybody else is refused. */
  allowed: Caller[];
  grpc(client: ClusterClient, node: { id: string; hostname: string }): Promise<unknown>;
  /** For users, who have tokens. */
  graphql?: string;
}

/** The first event of a watch proves that it was let in. */
async function firstEvent(client: ClusterClient): Promise<unknown> {
  for await (const event of client.watchNodes({ snapshot: true, bookmarks: true })) return event;
  throw new Error("The watch ended.");
}

const OPERATIONS: Operation[] = [
  {
    name: "GetNode",
    allowed: ["viewer", "operator", "admin", "own agent"],
    grpc: (client, { id }) => client.getNode({ nodeId: id }),
    graphql: "query ($id: ID!) { node(id: $id) { id } }",
  },
  {
    name: "ListNodes",
    allowed: ["viewer", "operator", "admin"],
    grpc: (client) => client.listNodes({}),
    graphql: "{ nodes { totalCount } }",
  },
  {
    name: "GetClusterInfo",
    allowed: ["viewer", "operator", "admin"],
    grpc: (client) => client.getClusterInfo({}),
    graphql: "{ clusterInfo { totalNodes } }",
  },
  { name: "WatchNodes", allowed: ["viewer", "operator", "admin"], grpc: (client) => firstEvent(client) },
  {
    name: "UpdateNode",
    allowed: ["operator", "admin"],
    grpc: (client, { id }) => client.updateNode({ nodeId: id, zone: "z" }),
    graphql: 'mutation ($id: ID!) { updateNode(input: { nodeId: $id, zone: "z" }) { node { id } } }',
  },
  {
    name: "RegisterNode",
    allowed: ["admin", "own agent"],
    grpc: (client, { id, hostname }) => client.registerNode(registration(hostname, { nodeId: id })),
    graphql: `mutation ($id: ID!, $hostname: String!) { registerNode(input: { nodeId: $id, hostname: $hostname, ip: "10.0.0.1", port: 1, role: WORKER,
      capacity: { cpuCores: 1, memoryBytes: 1 }, supportedInstanceTypes: [] }) { node { id } } }`,
  },
  {
    name: "Heartbeat",
    allowed: ["admin", "own agent"],
    grpc: (client, { id }) => client.heartbeat({ nodeId: id, status: NodeStatus.READY }),
    graphql: "mutation ($id: ID!) { heartbeat(input: { nodeId: $id, status: READY }) { accepted } }",
  },
  {
    name: "UpdateNodeStatus",
    allowed: ["admin", "own agent"],
    grpc: (client, { id }) => client.updateNodeStatus({ nodeId: id, status: NodeStatus.READY }),
    graphql: "mutation ($id: ID!) { updateNodeStatus(input: { nodeId: $id, status: READY }) { node { id } } }",
  },
  {
    name: "DeregisterNode",
    allowed: ["admin"],
    grpc: (client, { id }) => client.deregisterNode({ nodeId: id }),
    graphql: "mutation ($id: ID!) { deregisterNode(input: { nodeId: $id }) { node { id } } }",
  },
  {
    name: "AdmitNode",
    allowed: ["admin"],
    grpc: (client, { id }) => client.admitNode({ nodeId: id }),
    graphql: "mutation ($id: ID!) { admitNode(input: { nodeId: $id }) { node { id } } }",
  },
  {
    name: "sendNodeCommand",
    allowed: ["admin"],
    grpc: () => Promise.reject(new FleetError("UNIMPLEMENTED", "GraphQL only")),
    graphql: "mutation ($id: ID!) { sendNodeCommand(input: { nodeId: $id, type: UPGRADE }) { command { id } } }",
  },
];

describe("rights", () => {
  let fleet: ClustersFleet;
  let replica: ClustersReplica;
  const clients = new Map<Caller, ClusterClient>();

  beforeAll(async () => {
    fleet = await ClustersFleet.open("SQLite");
    replica = await fleet.replica();
    for (const role of ["viewer", "operator", "admin"] as const) clients.set(role, await fleet.user(replica, role));
    clients.set("nobody", await fleet.user(replica, null));
    clients.set("own agent", await fleet.agent(replica, "agent-own"));
    clients.set("other agent", await fleet.agent(replica, "agent-other"));
    await clients.get("other agent")!.registerNode(registration("of-the-other"));
  });
  afterAll(() => fleet?.close());

  async function ownNode(name: string): Promise<{ id: string; hostname: string }> {
    const { nodeId } = await clients.get("own agent")!.registerNode(registration(name));
    return { id: nodeId, hostname: name };
  }
  /** The codes of an allowed call differ with what it does; that of a refusal is one of these. */
  const refusedFor = (caller: Caller) => (caller === "nobody" ? "UNAUTHENTICATED" : "FORBIDDEN");

  const matrix = OPERATIONS.flatMap((operation) => CALLERS.map((caller) => ({ operation, caller, name: operation.name })));

  test.each(matrix.filter(({ name }) => name !== "sendNodeCommand"))("$name over gRPC by $caller", async ({ operation, caller }) => {
    const node = await ownNode(`${operation.name}-${caller.replace(" ", "-")}`.toLowerCase());
    const outcome = await operation.grpc(clients.get(caller)!, node).then(
      () => "accepted",
      (error: FleetError) => error.code,
    );
    expect(outcome).toBe(operation.allowed.includes(caller) ? "accepted" : refusedFor(caller));
    // The agent keeps a node in service: otherwise all of its later calls are refused for another reason.
    if (operation.name === "DeregisterNode" && caller === "admin") await ownNode("still-there");
  });

  const users = matrix.filter(({ operation, caller }) => operation.graphql !== undefined && !caller.endsWith("agent"));

  test.each(users)("$name over GraphQL by $caller", async ({ operation, caller }) => {
    const node = await ownNode(`gql-${operation.name}-${caller}`.toLowerCase());
    const role = caller === "nobody" ? null : (caller as "viewer" | "operator" | "admin");
    const result = await fleet.graphql(
      replica,
      role,
      operation.graphql!,
      operation.graphql!.includes("$hostname") ? node : { id: node.id },
    );
    const code = result.errors?.[0]?.extensions["code"] ?? "accepted";
    expect(code).toBe(operation.allowed.includes(caller) ? "accepted" : refusedFor(caller));
  });

  test("other parts of the control plane read and watch with their certificate", async () => {
    const channel = fleet.agentChannel(replica, await fleet.ca.issueControl("nodes"));
    const nodes = grpcClient(ClusterServiceDefinition, channel);
    expect((await nodes.listNodes({})).totalCount).toBeGreaterThan(0);
    expect(await firstEvent(nodes)).toBeDefined();
  });

  test("nodeEvents is for viewers", async () => {
    const request = { query: "subscription { nodeEvents(snapshot: true) { type } }" };
    const refused = await replica.subgraph.handler.subscribe({ ...request, headers: {} }).next();
    expect(refused.value.errors?.[0]?.extensions["code"]).toBe("UNAUTHENTICATED");
    const events = replica.subgraph.handler.subscribe({ ...request, headers: await fleet.headers("viewer") });
    expect((await events.next()).value.data).toMatchObject({ nodeEvents: { type: "ADDED" } });
    await events.return?.();
  });
});
