import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { FleetError } from "../../../platform/errors/fleet-error.ts";
import { InstanceState, InstanceType } from "../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { refusal } from "../../support/clusters-fleet.ts";
import { type ComputeClient, ComputeControlPlane, GIB } from "../../support/compute-control-plane.ts";
import type { RecordedAgent } from "../../support/recorded-agent.ts";
import { until } from "../../support/until.ts";

type Caller = "nobody" | "viewer" | "operator" | "admin";
const CALLERS: Caller[] = ["nobody", "viewer", "operator", "admin"];

interface Operation {
  name: string;
  /** The weakest that may. */
  least: Exclude<Caller, "nobody">;
  grpc?: (client: ComputeClient, id: string) => Promise<unknown>;
  graphql?: string;
}

const SPEC = { image: "debian", cpuCores: 1, memoryBytes: GIB };

async function firstFrame(client: ComputeClient): Promise<unknown> {
  for await (const frame of client.pullImage({ imageRef: "busybox", nodeIds: ["node-none"] })) return frame;
  throw new Error("The pull ended without a frame.");
}

async function firstEvent(client: ComputeClient): Promise<unknown> {
  for await (const event of client.watchInstance({ snapshot: true })) return event;
  throw new Error("The watch ended.");
}

const on = (mutation: string, more = "") => `mutation ($id: ID!) { ${mutation}(input: { instanceId: $id${more} }) { instance { id } } }`;

const OPERATIONS: Operation[] = [
  {
    name: "GetInstance",
    least: "viewer",
    grpc: (client, instanceId) => client.getInstance({ instanceId }),
    graphql: "query ($id: ID!) { instance(id: $id) { id } }",
  },
  { name: "ListInstances", least: "viewer", grpc: (client) => client.listInstances({}), graphql: "{ instances { totalCount } }" },
  { name: "WatchInstance", least: "viewer", grpc: firstEvent },
  { name: "GetInstanceStats", least: "viewer", grpc: (client, instanceId) => client.getInstanceStats({ instanceId }) },
  {
    name: "CreateInstance",
    least: "operator",
    grpc: (client) => client.createInstance({ name: "made", type: InstanceType.VM, spec: SPEC }),
    graphql:
      'mutation { createInstance(input: { name: "made", type: VM, spec: { image: "debian", cpuCores: 1, memoryBytes: 1073741824 } }) { instance { id } } }',
  },
  {
    name: "StartInstance",
    least: "operator",
    grpc: (client, instanceId) => client.startInstance({ instanceId }),
    graphql: on("startInstance"),
  },
  {
    name: "StopInstance",
    least: "operator",
    grpc: (client, instanceId) => client.stopInstance({ instanceId }),
    graphql: on("stopInstance"),
  },
  {
    name: "RestartInstance",
    least: "operator",
    grpc: (client, instanceId) => client.restartInstance({ instanceId }),
    graphql: on("restartInstance"),
  },
  {
    name: "SuspendInstance",
    least: "operator",
    grpc: (client, instanceId) => client.suspendInstance({ instanceId }),
    graphql: on("suspendInstance"),
  },
  {
    name: "ResumeInstance",
    least: "operator",
    grpc: (client, instanceId) => client.resumeInstance({ instanceId }),
    graphql: on("resumeInstance"),
  },
  {
    name: "ResizeInstance",
    least: "operator",
    grpc: (client, instanceId) => client.resizeInstance({ instanceId, cpuCores: 2 }),
    graphql: on("resizeInstance", ", cpuCores: 2"),
  },
  {
    name: "DeleteInstance",
    least: "operator",
    grpc: (client, instanceId) => client.deleteInstance({ instanceId, force: true }),
    graphql: on("deleteInstance", ", force: true"),
  },
  {
    name: "AdoptInstance",
    least: "admin",
    grpc: (client, instanceId) => client.adoptInstance({ instanceId }),
    graphql: on("adoptInstance"),
  },
  { name: "ListImages", least: "viewer", grpc: (client) => client.listImages({}), graphql: "{ images { totalCount } }" },
  { name: "imagePull", least: "viewer", graphql: '{ imagePull(id: "pull-none") { id } }' },
  {
    name: "PullImage",
    least: "operator",
    grpc: firstFrame,
    graphql: 'mutation { pullImage(input: { imageRef: "busybox", nodeIds: ["node-none"] }) { pull { id } } }',
  },
  {
    name: "cancelImagePull",
    least: "operator",
    graphql: 'mutation { cancelImagePull(input: { pullId: "pull-none" }) { pull { id } } }',
  },
  { name: "deleteImage", least: "admin", graphql: 'mutation { deleteImage(input: { image: "none" }) { freedBytes } }' },
  { name: "registryCredentials", least: "admin", graphql: "{ registryCredentials { registry } }" },
  {
    name: "setRegistryCredential",
    least: "admin",
    graphql:
      'mutation { setRegistryCredential(input: { registry: "r.example", username: "ada", password: "p" }) { credential { registry } } }',
  },
  {
    name: "deleteRegistryCredential",
    least: "admin",
    graphql: 'mutation { deleteRegistryCredential(input: { registry: "none.example" }) { credential { registry } } }',
  },
  {
    name: "node fields",
    least: "viewer",
    graphql:
      '{ _entities(representations: [{ __typename: "Node", id: "node-1" }]) { ... on Node { instances { totalCount } instanceTotals { managed } instanceTypes { type } } } }',
  },
];

describe("rights", () => {
  let plane: ComputeControlPlane;
  let agent: RecordedAgent;
  const clients = new Map<Caller, ComputeClient>();

  beforeAll(async () => {
    plane = await ComputeControlPlane.open();
    await plane.start();
    agent = await plane.node("node-1");
    clients.set("nobody", await plane.client(null));
    for (const role of ["viewer", "operator", "admin"] as const) clients.set(role, await plane.client(role));
  });
  afterAll(() => plane?.[Symbol.asyncDispose]());

  const may = (caller: Caller, least: Caller) => CALLERS.indexOf(caller) >= CALLERS.indexOf(least);
  /** What is not a right is a matter of the instance's state: both faces answer it alike. */
  const withoutRight = (code: unknown) => (code === "UNAUTHENTICATED" || code === "FORBIDDEN" ? code : "let in");
  const expected = (caller: Caller, least: Caller) => {
    if (may(caller, least)) return "let in";
    return caller === "nobody" ? "UNAUTHENTICATED" : "FORBIDDEN";
  };
  async function anInstance(): Promise<string> {
    return (
      await clients
        .get("operator")!
        .createInstance({ name: "subject", type: InstanceType.VM, spec: { ...SPEC, cpuCores: 1, memoryBytes: 2 ** 22 } })
    ).id;
  }
  const cases = OPERATIONS.flatMap((operation) => CALLERS.map((caller) => ({ ...operation, caller })));

  test.each(cases.filter(({ grpc }) => grpc))("$name over gRPC by $caller", async ({ grpc, least, caller }) => {
    const code = await grpc!(clients.get(caller)!, await anInstance()).then(
      () => "OK",
      (error: FleetError) => error.code,
    );
    expect(withoutRight(code)).toBe(expected(caller, least));
  });

  test.each(cases.filter(({ graphql }) => graphql))("$name over GraphQL by $caller", async ({ graphql, least, caller }) => {
    const { errors } = await plane.execute(caller === "nobody" ? null : caller, graphql!, { id: await anInstance() });
    expect(withoutRight(errors?.[0]?.extensions["code"])).toBe(expected(caller, least));
  });

  test("instanceEvents, instanceStats and imagePull are for viewers", async () => {
    const id = await anInstance();
    const mutation = 'mutation { pullImage(input: { imageRef: "busybox", nodeIds: ["node-1"] }) { pull { id } } }';
    const pullId = (await plane.ask(mutation)).pullImage.pull.id;
    for (const query of [
      "subscription { instanceEvents(snapshot: true) { type } }",
      `subscription { instanceStats(instanceId: "${id}") { instanceId } }`,
      `subscription { imagePull(id: "${pullId}") { status } }`,
    ]) {
      const refused = await plane.replica.subgraph.handler.subscribe({ query, headers: {} }).next();
      expect(refused.value.errors?.[0]?.extensions["code"]).toBe("UNAUTHENTICATED");
      const events = plane.replica.subgraph.handler.subscribe({ query, headers: await plane.headers("viewer") });
      expect((await events.next()).value.errors).toBeUndefined();
      await events.return?.();
    }
  });

  test("variables and user data are for operators, on both faces, and in no event", async () => {
    const spec = {
      ...SPEC,
      env: { TOKEN: "hidden-value" },
      cloudInit: { userData: "#!hidden-script", sshAuthorizedKeys: ["ssh-rsa AAAA k"] },
    };
    const made = await clients.get("operator")!.createInstance({ name: "secretive", type: InstanceType.VM, spec });
    expect(made.spec).toMatchObject({ env: { TOKEN: "hidden-value" }, cloudInit: { userData: "#!hidden-script" } });
    const seenBy = async (role: "viewer" | "operator") => (await clients.get(role)!.getInstance({ instanceId: made.id })).spec;
    expect(await seenBy("operator")).toMatchObject({ env: { TOKEN: "hidden-value" }, cloudInit: { userData: "#!hidden-script" } });
    expect(await seenBy("viewer")).toMatchObject({ env: {}, cloudInit: { userData: "", sshAuthorizedKeys: ["ssh-rsa AAAA k"] } });
    const query = "query ($id: ID!) { instance(id: $id) { spec { env { key value } cloudInit { userData sshAuthorizedKeys } } } }";
    const shown = async (role: "viewer" | "operator") => (await plane.execute(role, query, { id: made.id })).data;
    expect(await shown("operator")).toEqual({
      instance: {
        spec: {
          env: [{ key: "TOKEN", value: "hidden-value" }],
          cloudInit: { userData: "#!hidden-script", sshAuthorizedKeys: ["ssh-rsa AAAA k"] },
        },
      },
    });
    expect(await shown("viewer")).toEqual({
      instance: { spec: { env: null, cloudInit: { userData: null, sshAuthorizedKeys: ["ssh-rsa AAAA k"] } } },
    });
    for await (const event of clients.get("admin")!.watchInstance({ instanceId: made.id, snapshot: true })) {
      expect(JSON.stringify(event)).not.toContain("hidden");
      break;
    }
    // Nor with those that the list of an operator and the agent get.
    expect((await clients.get("operator")!.listInstances({ name: "secretive" })).instances[0]?.spec?.env).toEqual({
      TOKEN: "hidden-value",
    });
    await until(
      () => agent.applied.some(({ instanceId, spec: told }) => instanceId === made.id && told?.env["TOKEN"] === "hidden-value"),
      "the agent to be told",
    );
  });

  test("an adopted instance is the fleet's from then on", async () => {
    agent.host.set("theirs", { nativeId: "theirs", instanceId: "", generation: 0, state: InstanceState.RUNNING });
    agent.reportAll();
    const admin = clients.get("admin")!;
    await until(async () => (await admin.listInstances({ managed: false })).totalCount === 1, "what others made");
    const [found] = (await admin.listInstances({ managed: false })).instances;
    await admin.adoptInstance({ instanceId: found!.id });
    expect(await refusal(admin.adoptInstance({ instanceId: found!.id }))).toMatchObject({
      code: "FAILED_PRECONDITION",
      reason: "InstanceManaged",
    });
    await clients.get("operator")!.stopInstance({ instanceId: found!.id });
    await plane.untilState(found!.id, "STOPPED");
  });
});
