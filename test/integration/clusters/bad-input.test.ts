import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { NodeRole, NodeStatus } from "../../../schema/generated/proto/hypervisor/v1/cluster.ts";
import {
  type ClusterClient,
  ClustersFleet,
  type ClustersReplica,
  graphqlRefusal,
  refusal,
  registration,
} from "../../support/clusters-fleet.ts";

interface BadInput {
  what: string;
  code: string;
  /** The field's name in GraphQL and in the message. */
  field: [graphql: string, message: string];
  graphql: [query: string, variables?: Record<string, unknown>];
  grpc: (admin: ClusterClient) => Promise<unknown>;
}

const REGISTER = "mutation ($input: RegisterNodeInput!) { registerNode(input: $input) { node { id } } }";
const capacity = { cpuCores: 1, memoryBytes: 1, diskBytes: 1, gpuCount: 0 };

/** One that both faces refuse for the same value. */
function badRegistration(
  what: string,
  field: [string, string],
  graphql: Record<string, unknown>,
  message: Parameters<typeof registration>[1],
): BadInput {
  const input = { hostname: "good", ip: "10.0.0.1", port: 1, role: "WORKER", capacity, supportedInstanceTypes: ["vm"], ...graphql };
  return {
    what,
    code: "INVALID_ARGUMENT",
    field,
    graphql: [REGISTER, { input }],
    grpc: (admin) => admin.registerNode(registration("good", message)),
  };
}

const cases: BadInput[] = [
  badRegistration("an empty hostname", ["hostname", "hostname"], { hostname: "" }, { hostname: "" }),
  badRegistration("a hostname that is none", ["hostname", "hostname"], { hostname: "a b" }, { hostname: "a b" }),
  badRegistration("a bad IP", ["ip", "ip"], { ip: "10.0.0.256" }, { ip: "10.0.0.256" }),
  badRegistration("port 0", ["port", "port"], { port: 0 }, { port: 0 }),
  badRegistration("port 70000", ["port", "port"], { port: 70_000 }, { port: 70_000 }),
  badRegistration(
    "a negative capacity",
    ["capacity.memoryBytes", "capacity.memory_bytes"],
    { capacity: { ...capacity, memoryBytes: -1 } },
    { capacity: { ...capacity, memoryBytes: -1 } },
  ),
  badRegistration(
    "an unknown instance type",
    ["supportedInstanceTypes", "supported_instance_types"],
    { supportedInstanceTypes: ["vm", "zone"] },
    { supportedInstanceTypes: ["vm", "zone"] },
  ),
  {
    what: "a page size above 100",
    code: "INVALID_ARGUMENT",
    field: ["first", "page_size"],
    graphql: ["{ nodes(first: 101) { totalCount } }"],
    grpc: (admin) => admin.listNodes({ pageSize: 101 }),
  },
  {
    what: "a negative page size",
    code: "INVALID_ARGUMENT",
    field: ["first", "page_size"],
    graphql: ["{ nodes(first: -1) { totalCount } }"],
    grpc: (admin) => admin.listNodes({ pageSize: -1 }),
  },
  {
    what: "a broken page token",
    code: "INVALID_ARGUMENT",
    field: ["after", "page_token"],
    graphql: ['{ nodes(after: "broken") { totalCount } }'],
    grpc: (admin) => admin.listNodes({ pageToken: "broken" }),
  },
  {
    what: "an unknown node",
    code: "NOT_FOUND",
    field: ["id", "node_id"],
    graphql: ['{ node(id: "node-nowhere") { id } }'],
    grpc: (admin) => admin.getNode({ nodeId: "node-nowhere" }),
  },
  ...(["deregisterNode", "admitNode"] as const).map((method) => ({
    what: `an unknown node for ${method}`,
    code: "NOT_FOUND",
    field: ["nodeId", "node_id"] as [string, string],
    graphql: [`mutation { ${method}(input: { nodeId: "node-nowhere" }) { node { id } } }`] as [string],
    grpc: (admin: ClusterClient) => admin[method]({ nodeId: "node-nowhere" }),
  })),
  {
    what: "an unknown node for updateNode",
    code: "NOT_FOUND",
    field: ["nodeId", "node_id"],
    graphql: ['mutation { updateNode(input: { nodeId: "node-nowhere", zone: "z" }) { node { id } } }'],
    grpc: (admin) => admin.updateNode({ nodeId: "node-nowhere", zone: "z" }),
  },
  {
    what: "an unknown node for updateNodeStatus",
    code: "NOT_FOUND",
    field: ["nodeId", "node_id"],
    graphql: ['mutation { updateNodeStatus(input: { nodeId: "node-nowhere", status: READY }) { node { id } } }'],
    grpc: (admin) => admin.updateNodeStatus({ nodeId: "node-nowhere", status: NodeStatus.READY }),
  },
  {
    what: "a heartbeat without a node id",
    code: "INVALID_ARGUMENT",
    field: ["nodeId", "node_id"],
    graphql: ['mutation { heartbeat(input: { nodeId: "", status: READY }) { accepted } }'],
    grpc: (admin) => admin.heartbeat({ status: NodeStatus.READY }),
  },
  {
    what: "a negative allocation",
    code: "INVALID_ARGUMENT",
    field: ["allocated.cpuCores", "allocated.cpu_cores"],
    graphql: ['mutation { heartbeat(input: { nodeId: "n", status: READY, allocated: { cpuCores: -1, memoryBytes: 0 } }) { accepted } }'],
    grpc: (admin) => admin.heartbeat({ nodeId: "n", status: NodeStatus.READY, allocated: { ...capacity, cpuCores: -1 } }),
  },
  {
    what: "a condition status that does not exist",
    code: "INVALID_ARGUMENT",
    field: ["conditions[0].status", "conditions[0].status"],
    graphql: ['mutation { heartbeat(input: { nodeId: "n", status: READY, conditions: [{ type: "Ready", status: "Yes" }] }) { accepted } }'],
    grpc: (admin) => admin.heartbeat({ nodeId: "n", status: NodeStatus.READY, conditions: [{ type: "Ready", status: "Yes" }] }),
  },
];

describe("bad input gets the same code on both faces, naming the field", () => {
  let fleet: ClustersFleet;
  let replica: ClustersReplica;
  let admin: ClusterClient;

  beforeAll(async () => {
    fleet = await ClustersFleet.open("SQLite");
    replica = await fleet.replica();
    admin = await fleet.user(replica, "admin");
  });
  afterAll(() => fleet?.close());

  test.each(cases)("$what", async ({ code, field: [graphqlField, messageField], graphql: [query, variables], grpc }) => {
    expect(graphqlRefusal(await fleet.graphql(replica, "admin", query, variables))).toMatchObject({ code, field: graphqlField });
    expect(await refusal(grpc(admin))).toMatchObject({ code, details: { field: messageField } });
  });

  test("what GraphQL's own types refuse, the messages refuse too", async () => {
    const refused = (field: string) => ({ code: "INVALID_ARGUMENT", details: { field } });
    expect(await refusal(admin.registerNode(registration("good", { role: NodeRole.UNSPECIFIED })))).toMatchObject(refused("role"));
    expect(await refusal(admin.registerNode(registration("good", { capacity: undefined })))).toMatchObject(refused("capacity"));
    expect(await refusal(admin.heartbeat({ nodeId: "n" }))).toMatchObject(refused("status"));
  });

  test("a cursor that is none is refused by both watches", async () => {
    const events = replica.subgraph.handler.subscribe({
      query: 'subscription { nodeEvents(after: "broken") { type } }',
      headers: await fleet.headers("viewer"),
    });
    expect(graphqlRefusal((await events.next()).value)).toMatchObject({ code: "INVALID_ARGUMENT", field: "after" });
    const watch = admin.watchNodes({ after: "broken" })[Symbol.asyncIterator]();
    expect(await refusal(watch.next())).toMatchObject({ code: "INVALID_ARGUMENT", details: { field: "after" } });
  });
});
