import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type CreateInstanceRequest,
  Firmware,
  InstanceType,
  PlacementStrategy,
} from "../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { graphqlRefusal, refusal } from "../../support/clusters-fleet.ts";
import { type ComputeClient, ComputeControlPlane, GIB } from "../../support/compute-control-plane.ts";

interface BadInput {
  what: string;
  code: string;
  /** The field's name in GraphQL and in the message. */
  field: [graphql: string, message: string];
  graphql: [query: string, variables?: Record<string, unknown>];
  grpc: (client: ComputeClient) => Promise<unknown>;
}

const CREATE = "mutation ($input: CreateInstanceInput!) { createInstance(input: $input) { instance { id } } }";
const VM = { image: "debian", cpuCores: 1, memoryBytes: GIB };
const CONTAINER = { image: "busybox", cpuCores: 1, memoryBytes: GIB };

/** A part of a spec that both faces refuse; maps are lists in GraphQL. */
function badSpec(
  what: string,
  path: string,
  part: Record<string, unknown>,
  type: "VM" | "CONTAINER" | "MICROVM" = "VM",
  graphqlPart = part,
): BadInput {
  const base = type === "CONTAINER" ? CONTAINER : VM;
  const message = path.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return {
    what,
    code: "INVALID_ARGUMENT",
    field: [path, message],
    graphql: [CREATE, { input: { name: "bad", type, spec: { ...base, ...graphqlPart } } }],
    grpc: (client) =>
      client.createInstance({
        name: "bad",
        type: InstanceType[type],
        spec: { ...base, ...part } as CreateInstanceRequest["spec"] & object,
      }),
  };
}

function badCreation(
  what: string,
  field: [string, string],
  graphql: Record<string, unknown>,
  message: Partial<CreateInstanceRequest>,
): BadInput {
  return {
    what,
    code: "INVALID_ARGUMENT",
    field,
    graphql: [CREATE, { input: { name: "bad", type: "VM", spec: VM, ...graphql } }],
    grpc: (client) => client.createInstance({ name: "bad", type: InstanceType.VM, spec: VM, ...message }),
  };
}

const disk = (more: Record<string, unknown>) => ({ disks: [{ name: "root", sizeBytes: GIB, ...more }] });

const cases: BadInput[] = [
  badCreation("an empty name", ["name", "name"], { name: "" }, { name: "" }),
  badCreation("a name with a newline", ["name", "name"], { name: "a\nb" }, { name: "a\nb" }),
  badCreation("a name that is too long", ["name", "name"], { name: "x".repeat(254) }, { name: "x".repeat(254) }),
  badCreation(
    "an empty label key",
    ["labels", "metadata.labels"],
    { labels: [{ key: "", value: "v" }] },
    { metadata: { labels: { "": "v" }, annotations: {} } },
  ),
  badCreation(
    "annotations that are too large",
    ["annotations", "metadata.annotations"],
    { annotations: [{ key: "k", value: "v".repeat(65_536) }] },
    { metadata: { labels: {}, annotations: { k: "v".repeat(65_536) } } },
  ),
  badCreation(
    "an anti-affinity label that it lacks",
    ["antiAffinityLabel", "anti_affinity_label"],
    { antiAffinityLabel: "app" },
    { antiAffinityLabel: "app" },
  ),
  badCreation(
    "a request id that is too long",
    ["clientRequestId", "client_request_id"],
    { clientRequestId: "x".repeat(129) },
    { clientRequestId: "x".repeat(129) },
  ),
  badSpec("no cores", "spec.cpuCores", { cpuCores: 0 }),
  badSpec("an account in the image's URL", "spec.image", { image: "https://ada:hunter2@images.example/debian.qcow2" }),
  badSpec("too many cores", "spec.cpuCores", { cpuCores: 1_025 }),
  badSpec("too little memory", "spec.memoryBytes", { memoryBytes: 1_000 }),
  badSpec("negative memory", "spec.memoryBytes", { memoryBytes: -1 }),
  badSpec("neither image nor kernel", "spec.image", { image: "" }),
  badSpec("a container without an image", "spec.image", { image: "" }, "CONTAINER"),
  badSpec("a disk with a bad name", "spec.disks[0].name", disk({ name: "a/b" })),
  badSpec("two disks of one name", "spec.disks[1].name", {
    disks: [
      { name: "a", sizeBytes: GIB },
      { name: "a", sizeBytes: GIB },
    ],
  }),
  badSpec("two boot disks", "spec.disks[1].boot", {
    disks: [
      { name: "a", sizeBytes: GIB, boot: true },
      { name: "b", sizeBytes: GIB, boot: true },
    ],
  }),
  badSpec("a data disk without a size", "spec.disks[0].sizeBytes", disk({ sizeBytes: 0 })),
  badSpec("a disk that is too small", "spec.disks[0].sizeBytes", disk({ sizeBytes: 512 })),
  badSpec("a disk of an unknown type", "spec.disks[0].type", disk({ type: "tape" })),
  badSpec("too many disks", "spec.disks", { disks: Array.from({ length: 17 }, (_, index) => ({ name: `d${index}`, sizeBytes: GIB })) }),
  badSpec("disks of a container", "spec.disks", disk({}), "CONTAINER"),
  badSpec("a kernel of a container", "spec.kernel", { kernel: "vmlinuz" }, "CONTAINER"),
  badSpec("a command of a VM", "spec.command", { command: ["sh"] }),
  badSpec("mounts of a VM", "spec.volumeMounts", { volumeMounts: [{ name: "/srv", mountPath: "/srv" }] }),
  badSpec("UEFI of a microVM", "spec.firmware", { firmware: Firmware.UEFI }, "MICROVM", { firmware: "UEFI" }),
  badSpec("an initrd without a kernel", "spec.initrd", { initrd: "initrd.img" }),
  badSpec("kernel arguments without a kernel", "spec.kernelArgs", { kernelArgs: "quiet" }),
  badSpec("a subnet that is none", "spec.network.subnetId", { network: { subnetId: "10.0.0.0/33" } }),
  badSpec("a public address without a network", "spec.network.assignPublicIp", { network: { networkId: "none", assignPublicIp: true } }),
  badSpec("a security group twice", "spec.network.securityGroups[1]", { network: { securityGroups: ["a", "a"] } }),
  badSpec("security groups of a container", "spec.network.securityGroups", { network: { securityGroups: ["a"] } }, "CONTAINER"),
  badSpec("a variable with '='", "spec.env", { env: { "A=B": "c" } }, "CONTAINER", { env: [{ key: "A=B", value: "c" }] }),
  badSpec(
    "a mount path that leads up",
    "spec.volumeMounts[0].mountPath",
    { volumeMounts: [{ name: "/srv", mountPath: "/a/../b" }] },
    "CONTAINER",
  ),
  badSpec(
    "a mount path that is relative",
    "spec.volumeMounts[0].mountPath",
    { volumeMounts: [{ name: "/srv", mountPath: "a" }] },
    "CONTAINER",
  ),
  badSpec(
    "one mount path twice",
    "spec.volumeMounts[1].mountPath",
    {
      volumeMounts: [
        { name: "a", mountPath: "/x" },
        { name: "b", mountPath: "/x" },
      ],
    },
    "CONTAINER",
  ),
  badSpec("a negative limit", "spec.limits.ioReadBps", { limits: { ioReadBps: -1 } }),
  badSpec("a CPU period that is too short", "spec.limits.cpuPeriod", { limits: { cpuQuota: 10, cpuPeriod: 10 } }),
  badSpec("less swap than memory", "spec.limits.memorySwap", { limits: { memoryLimit: 10, memorySwap: 5 } }),
  badSpec("user data that is too large", "spec.cloudInit.userData", { cloudInit: { userData: "x".repeat(65_537) } }),
  badSpec("a key that is none", "spec.cloudInit.sshAuthorizedKeys[0]", { cloudInit: { sshAuthorizedKeys: ["nonsense"] } }),
  {
    what: "a page size above 100",
    code: "INVALID_ARGUMENT",
    field: ["first", "page_size"],
    graphql: ["{ instances(first: 101) { totalCount } }"],
    grpc: (client) => client.listInstances({ pageSize: 101 }),
  },
  {
    what: "a broken page token",
    code: "INVALID_ARGUMENT",
    field: ["after", "page_token"],
    graphql: ['{ instances(after: "broken") { totalCount } }'],
    grpc: (client) => client.listInstances({ pageToken: "broken" }),
  },
  {
    what: "an unknown instance",
    code: "NOT_FOUND",
    field: ["id", "instance_id"],
    graphql: ['{ instance(id: "inst-nowhere") { id } }'],
    grpc: (client) => client.getInstance({ instanceId: "inst-nowhere" }),
  },
  ...(
    ["startInstance", "stopInstance", "restartInstance", "suspendInstance", "resumeInstance", "deleteInstance", "adoptInstance"] as const
  ).map((method) => ({
    what: `an unknown instance for ${method}`,
    code: "NOT_FOUND",
    field: ["instanceId", "instance_id"] as [string, string],
    graphql: [`mutation { ${method}(input: { instanceId: "inst-nowhere" }) { instance { id } } }`] as [string],
    grpc: (client: ComputeClient) => client[method]({ instanceId: "inst-nowhere" }),
  })),
  {
    what: "a stop that waits for too long",
    code: "INVALID_ARGUMENT",
    field: ["timeoutSeconds", "timeout_seconds"],
    graphql: ['mutation { stopInstance(input: { instanceId: "inst-1", timeoutSeconds: 3601 }) { instance { id } } }'],
    grpc: (client) => client.stopInstance({ instanceId: "inst-1", timeoutSeconds: 3_601 }),
  },
  {
    what: "a resize to nothing",
    code: "INVALID_ARGUMENT",
    field: ["cpuCores", "cpu_cores"],
    graphql: ['mutation { resizeInstance(input: { instanceId: "inst-1" }) { instance { id } } }'],
    grpc: (client) => client.resizeInstance({ instanceId: "inst-1" }),
  },
];

describe("bad input gets the same code on both faces, naming the field", () => {
  let plane: ComputeControlPlane;
  let admin: ComputeClient;

  beforeAll(async () => {
    plane = await ComputeControlPlane.open();
    await plane.start();
    admin = await plane.client("admin");
  });
  afterAll(() => plane?.[Symbol.asyncDispose]());

  test.each(cases)("$what", async ({ code, field: [graphqlField, messageField], graphql: [query, variables], grpc }) => {
    expect(graphqlRefusal(await plane.execute("admin", query, variables))).toMatchObject({ code, field: graphqlField });
    expect(await refusal(grpc(admin))).toMatchObject({ code, details: { field: messageField } });
  });

  test("what GraphQL's own types refuse, the messages refuse too", async () => {
    const refused = (field: string) => ({ code: "INVALID_ARGUMENT", details: { field } });
    expect(await refusal(admin.createInstance({ name: "bad", spec: VM }))).toMatchObject(refused("type"));
    expect(await refusal(admin.createInstance({ name: "bad", type: InstanceType.VM }))).toMatchObject(refused("spec"));
    const strategy = PlacementStrategy.UNRECOGNIZED;
    expect(
      await refusal(admin.createInstance({ name: "bad", type: InstanceType.VM, spec: VM, placementStrategy: strategy })),
    ).toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  test("a key that occurs twice in a list is refused where it is", async () => {
    const twice = [
      { key: "a", value: "1" },
      { key: "a", value: "2" },
    ];
    for (const [field, input] of [
      ["labels", { labels: twice }],
      ["nodeLabels", { nodeLabels: twice }],
      ["spec.env", { spec: { ...VM, env: twice } }],
    ] as const) {
      expect(
        graphqlRefusal(await plane.execute("admin", CREATE, { input: { name: "bad", type: "VM", spec: VM, ...input } })),
      ).toMatchObject({ code: "INVALID_ARGUMENT", field });
    }
    expect(
      graphqlRefusal(
        await plane.execute("admin", "query ($labels: [KeyValueInput!]) { instances(filter: { labels: $labels }) { totalCount } }", {
          labels: twice,
        }),
      ),
    ).toMatchObject({ field: "filter.labels" });
  });

  test("an interval below a second is refused", async () => {
    for (const interval of [0, -1, 3_601]) {
      const stats = plane.replica.subgraph.handler.subscribe({
        query: `subscription { instanceStats(instanceId: "inst-1", intervalSeconds: ${interval}) { instanceId } }`,
        headers: await plane.headers("viewer"),
      });
      expect(graphqlRefusal((await stats.next()).value)).toMatchObject({ code: "INVALID_ARGUMENT", field: "intervalSeconds" });
    }
  });
});
