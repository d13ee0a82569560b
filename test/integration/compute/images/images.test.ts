import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { InstanceType } from "../../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { ImageFormat } from "../../../../schema/generated/proto/hypervisor/v1/images.ts";
import { graphqlRefusal, refusal } from "../../../support/clusters-fleet.ts";
import { ComputeControlPlane } from "../../../support/compute-control-plane.ts";
import type { RecordedAgent } from "../../../support/recorded-agent.ts";
import { until } from "../../../support/until.ts";

const LIST = `query ($filter: ImageFilter, $first: Int, $after: String) { images(filter: $filter, first: $first, after: $after) {
  nodes { id names type format sizeBytes virtualSizeBytes createdAt nodes { node { id } sizeBytes inUse managed pulledAt } }
  pageInfo { hasNextPage endCursor } totalCount unavailable { node { id } reason message } } }`;
const DELETE = `mutation ($input: DeleteImageInput!) { deleteImage(input: $input) {
  freedBytes nodes { node { id } deleted freedBytes error { code reason message instanceIds } } } }`;

const id = (letter: string) => `sha256:${letter.repeat(64)}`;
const CREATED = new Date(Date.UTC(2026, 5, 1));

describe("images of hosts", () => {
  let plane: ComputeControlPlane;
  let agents: RecordedAgent[];

  beforeAll(async () => {
    plane = await ComputeControlPlane.open();
    await plane.start();
    agents = [await plane.node("node-1"), await plane.node("node-2")];
    plane.agents.cluster.set({ id: "node-simulated", simulated: true });
    const [one, two] = agents as [RecordedAgent, RecordedAgent];
    const disk = { type: InstanceType.VM, format: ImageFormat.QCOW2, virtualSizeBytes: 9_000 };
    one.images.add({ id: id("a"), names: ["docker.io/library/busybox:latest"], createdAt: CREATED, format: ImageFormat.OCI });
    two.images.add({ id: id("a"), names: ["docker.io/library/busybox:1"], sizeBytes: 1_200, inUse: true, format: ImageFormat.OCI });
    one.images.add({ id: id("b"), names: ["debian", "https://images.example/Debian.qcow2"], ...disk, managed: true });
    two.images.add({ id: id("c"), names: ["alpine"], ...disk });
  });
  afterAll(() => plane?.[Symbol.asyncDispose]());

  const list = async (variables: Record<string, unknown> = {}) => (await plane.ask(LIST, variables)).images;
  const idsOf = (page: { nodes: Array<{ id: string }> }) => page.nodes.map((image) => image.id);
  const remove = async (input: Record<string, unknown>) => plane.execute("admin", DELETE, { input });

  test("are one list over all hosts, by name", async () => {
    const page = await list();
    expect(idsOf(page)).toEqual([id("c"), id("b"), id("a")]);
    expect(page).toMatchObject({ totalCount: 3, unavailable: [] });
    expect(page.nodes[2]).toEqual({
      id: id("a"),
      names: ["docker.io/library/busybox:1", "docker.io/library/busybox:latest"],
      type: "CONTAINER",
      format: "OCI",
      sizeBytes: 1_200,
      virtualSizeBytes: null,
      createdAt: CREATED.toISOString(),
      nodes: [
        { node: { id: "node-1" }, sizeBytes: 1_000, inUse: false, managed: false, pulledAt: null },
        { node: { id: "node-2" }, sizeBytes: 1_200, inUse: true, managed: false, pulledAt: null },
      ],
    });
    expect(page.nodes[1]).toMatchObject({ type: "VM", format: "QCOW2", virtualSizeBytes: 9_000 });
  });

  test("are filtered by node, type and name, and paged", async () => {
    expect(idsOf(await list({ filter: { nodeId: "node-1" } }))).toEqual([id("b"), id("a")]);
    expect(idsOf(await list({ filter: { type: "MICROVM" } }))).toEqual([id("c"), id("b")]);
    expect(idsOf(await list({ filter: { type: "CONTAINER" } }))).toEqual([id("a")]);
    expect(idsOf(await list({ filter: { name: "DEBIAN.Q" } }))).toEqual([id("b")]);
    const seen: string[] = [];
    let after: string | null = null;
    do {
      const page = await list({ first: 1, after });
      expect(page.totalCount).toBe(3);
      seen.push(...idsOf(page));
      after = page.pageInfo.hasNextPage ? page.pageInfo.endCursor : null;
    } while (after !== null);
    expect(seen).toEqual([id("c"), id("b"), id("a")]);
    for (const [variables, code, field] of [
      [{ filter: { nodeId: "node-none" } }, "NOT_FOUND", "filter.nodeId"],
      [{ first: 101 }, "INVALID_ARGUMENT", "first"],
      [{ after: "rubbish" }, "INVALID_ARGUMENT", "after"],
    ] as const) {
      expect(graphqlRefusal(await plane.execute("viewer", LIST, variables))).toMatchObject({ code, field });
    }
  });

  test("are told over gRPC, too", async () => {
    const client = await plane.client("viewer");
    const { images, unavailableNodeIds } = await client.listImages({ type: InstanceType.CONTAINER });
    expect(images).toEqual([
      {
        id: id("a"),
        name: "docker.io/library/busybox:1",
        tags: ["docker.io/library/busybox:1", "docker.io/library/busybox:latest"],
        sizeBytes: 1_200,
        type: InstanceType.CONTAINER,
        createdAt: CREATED,
        nodeIds: ["node-1", "node-2"],
      },
    ]);
    expect(unavailableNodeIds).toEqual([]);
    expect((await client.listImages({ name: "alp" })).images.map((image) => image.id)).toEqual([id("c")]);
    expect(await refusal(client.listImages({ nodeId: "node-none" }))).toMatchObject({
      code: "NOT_FOUND",
      details: expect.objectContaining({ field: "node_id" }),
    });
  });

  test("of a host that cannot be asked are missing, and that is said", async () => {
    const [one, two] = agents as [RecordedAgent, RecordedAgent];
    await two.kill();
    one.images.unavailable = ["The container engine does not answer."];
    const page = await list();
    expect(idsOf(page)).toEqual([id("b"), id("a")]);
    expect(page.unavailable).toHaveLength(2);
    expect(page.unavailable).toEqual(
      expect.arrayContaining([
        { node: { id: "node-1" }, reason: "DRIVER_UNAVAILABLE", message: "The container engine does not answer." },
        { node: { id: "node-2" }, reason: "AGENT_UNREACHABLE", message: expect.any(String) },
      ]),
    );
    expect((await list({ filter: { nodeId: "node-simulated" } })).unavailable).toMatchObject([{ reason: "SIMULATED" }]);
    const client = await plane.client("viewer");
    expect((await client.listImages({})).unavailableNodeIds.sort()).toEqual(["node-1", "node-2"]);
    one.images.unavailable = [];
    await two.start();
    await until(async () => (await list()).unavailable.length === 0, "all to be asked again");
  });

  test("are asked of each host once, however many want to know at the same time", async () => {
    const [one] = agents as [RecordedAgent];
    const asked = Promise.withResolvers<void>();
    one.images.onList = () => asked.promise;
    const before = one.images.listed.length;
    const lists = Array.from({ length: 5 }, () => list());
    await until(() => one.images.listed.length > before, "the host to be asked");
    asked.resolve();
    for (const page of await Promise.all(lists)) expect(page.totalCount).toBe(3);
    one.images.onList = null;
    // A request that came after the answer asks again; those that came together do not.
    expect(one.images.listed.length - before).toBeLessThan(5);
  });

  test("are deleted where nothing needs them, with what each host says", async () => {
    const [one, two] = agents as [RecordedAgent, RecordedAgent];
    const error = (reason: string | null, instanceIds: string[] = []) => ({
      code: reason === "ImageInUse" ? "FAILED_PRECONDITION" : "NOT_FOUND",
      ...{ reason, message: expect.any(String), instanceIds },
    });
    // By its short name, which only the first host has; each is asked for what it calls the image itself.
    expect((await remove({ image: "busybox", nodeIds: ["node-1", "node-2"] })).data).toEqual({
      deleteImage: {
        freedBytes: 1_000,
        nodes: [
          { node: { id: "node-1" }, deleted: true, freedBytes: 1_000, error: null },
          { node: { id: "node-2" }, deleted: false, freedBytes: null, error: error(null) },
        ],
      },
    });
    expect(one.images.deleted.at(-1)).toMatchObject({ image: "docker.io/library/busybox:latest", type: InstanceType.CONTAINER });
    expect((await remove({ image: id("a") })).data).toMatchObject({
      deleteImage: { freedBytes: 0, nodes: [{ node: { id: "node-2" }, deleted: false, error: error("ImageInUse", ["inst-1"]) }] },
    });
    expect(graphqlRefusal(await remove({ image: "nothing" }))).toMatchObject({ code: "NOT_FOUND", field: "image" });
    expect(graphqlRefusal(await remove({ image: "alpine", nodeIds: ["node-none"] }))).toMatchObject({ code: "NOT_FOUND" });
    expect(graphqlRefusal(await remove({ image: "" }))).toMatchObject({ code: "INVALID_ARGUMENT", field: "image" });
    await one.kill();
    expect((await remove({ image: "alpine" })).data).toMatchObject({
      deleteImage: {
        nodes: [
          { node: { id: "node-2" }, deleted: true },
          { node: { id: "node-1" }, deleted: false, error: { code: "UNAVAILABLE", reason: "AgentUnreachable" } },
        ],
      },
    });
    await one.start();
    expect([...two.images.images.keys()]).toEqual([id("a")]);
  });

  test("of both types by one name are not deleted before it is said which", async () => {
    const [one, two] = agents as [RecordedAgent, RecordedAgent];
    one.images.add({ id: id("d"), names: ["nginx"], type: InstanceType.VM });
    two.images.add({ id: id("e"), names: ["docker.io/library/nginx:latest"] });
    await until(async () => (await list({ filter: { name: "nginx" } })).totalCount === 2, "both to be listed");
    expect(graphqlRefusal(await remove({ image: "nginx" }))).toMatchObject({ code: "INVALID_ARGUMENT", field: "type" });
    expect((await remove({ image: "nginx", type: "VM" })).data).toMatchObject({
      deleteImage: { nodes: [{ node: { id: "node-1" }, deleted: true }] },
    });
    expect([...two.images.images.keys()]).toContain(id("e"));
  });
});
