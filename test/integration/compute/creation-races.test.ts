import { afterEach, beforeEach, expect, test } from "vitest";
import type { FleetError } from "../../../platform/errors/fleet-error.ts";
import { InstanceType } from "../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { refusal } from "../../support/clusters-fleet.ts";
import { COMPUTE_VARIANTS, type ComputeClient, ComputeControlPlane, GIB } from "../../support/compute-control-plane.ts";
import { describeWithPeers } from "../../support/peers.ts";
import { seededRandom, seedOfRun } from "../../support/random.ts";
import { until } from "../../support/until.ts";

const VM = { image: "debian", cpuCores: 1, memoryBytes: GIB };

for (const variant of COMPUTE_VARIANTS) {
  describeWithPeers(`creations that meet, on ${variant.name}`, variant.peers, () => {
    let plane: ComputeControlPlane;

    beforeEach(async () => {
      plane = await ComputeControlPlane.open(variant.name);
    });
    afterEach(() => plane?.[Symbol.asyncDispose]());

    /** A replica learns of new nodes by its own watch. */
    const untilNodesAreKnown = (client: ComputeClient, count: number) =>
      until(async () => {
        const { details } = await refusal(create(client, "too-large", { spec: { ...VM, cpuCores: 1_024 } }));
        return details["nodeCount"] === count;
      }, "the nodes to be known");
    const create = (client: ComputeClient, name: string, more = {}) =>
      client.createInstance({ name, type: InstanceType.VM, spec: VM, ...more });

    test("200 at once over 3 nodes and two replicas: none is lost, no node holds more than it has, and the rest is told why", async () => {
      const first = await plane.start();
      const second = await plane.start();
      const clients = await Promise.all([plane.client("operator", first), plane.client("operator", second)]);
      const room = [30, 50, 70];
      const nodes = await Promise.all(
        room.map((cpuCores, index) =>
          plane.node(`node-${index}`, { allocatable: { cpuCores, memoryBytes: 256 * GIB, diskBytes: 0, gpuCount: 0 } }),
        ),
      );
      for (const client of clients) await untilNodesAreKnown(client, 3);
      const outcomes = await Promise.all(
        Array.from({ length: 200 }, (_, index) =>
          create(clients[index % 2]!, `burst-${index}`).then(
            ({ id, nodeId }) => ({ id, nodeId }),
            (error: FleetError) => error,
          ),
        ),
      );
      const made = outcomes.filter((outcome) => "id" in outcome);
      const refused = outcomes.filter((outcome): outcome is FleetError => "code" in outcome);
      expect(new Set(refused.map(({ code, reason }) => `${code} ${reason}`))).toEqual(new Set(["RESOURCE_EXHAUSTED NoNodeFits"]));
      // Exactly as many as there is room for.
      expect(made).toHaveLength(150);
      expect(new Set(made.map(({ id }) => id)).size).toBe(150);
      const perNode = nodes.map(({ nodeId }) => made.filter((one) => one.nodeId === nodeId).length);
      expect(perNode).toEqual(room);
      expect(refused[0]!.details).toMatchObject({ nodeCount: 3, reasons: { InsufficientCpu: 3 } });
      await until(() => nodes.every((node, index) => node.host.size === room[index]), "the agents to have made all");
      for (const { reserved, sum } of Object.values(await plane.reservations())) expect(reserved).toEqual(sum);
    });

    test("many requests with few request ids make one instance for each, whichever replica they meet", async () => {
      const seed = seedOfRun();
      const random = seededRandom(seed);
      const replicas = [await plane.start(), await plane.start()];
      const clients = await Promise.all(replicas.map((replica) => plane.client("operator", replica)));
      await plane.node("node-1");
      for (const client of clients) await untilNodesAreKnown(client, 1);
      const asked = Array.from({ length: 60 }, () => Math.floor(random() * 8));
      const made = await Promise.all(
        asked.map((number) => create(clients[random() < 0.5 ? 0 : 1]!, `once-${number}`, { clientRequestId: `request-${number}` })),
      );
      const ids = new Map(asked.map((number, index) => [number, made[index]!.id]));
      expect(
        asked.every((number, index) => ids.get(number) === made[index]!.id),
        `seed ${seed}`,
      ).toBe(true);
      expect((await clients[0]!.listInstances({})).totalCount).toBe(new Set(asked).size);
      expect(await refusal(create(clients[0]!, "another", { clientRequestId: `request-${asked[0]}` }))).toMatchObject({
        code: "INVALID_ARGUMENT",
        details: { field: "client_request_id" },
      });
    });

    test("an anti-affinity label keeps instances apart, also when they come together", async () => {
      const replicas = [await plane.start(), await plane.start()];
      const clients = await Promise.all(replicas.map((replica) => plane.client("operator", replica)));
      for (const id of ["node-1", "node-2", "node-3"]) await plane.node(id);
      for (const client of clients) await untilNodesAreKnown(client, 3);
      const more = { metadata: { labels: { app: "db" }, annotations: {} }, antiAffinityLabel: "app" };
      const outcomes = await Promise.all(
        Array.from({ length: 6 }, (_, index) =>
          create(clients[index % 2]!, `apart-${index}`, more).then(
            ({ nodeId }) => nodeId,
            (error: FleetError) => `${error.code} ${JSON.stringify(error.details["reasons"])}`,
          ),
        ),
      );
      expect(outcomes.sort()).toEqual(
        ["RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED"]
          .map((code) => `${code} {"AntiAffinity":3}`)
          .concat(["node-1", "node-2", "node-3"]),
      );
      // Another value goes anywhere; a deleted instance makes room.
      const other = { metadata: { labels: { app: "web" }, annotations: {} }, antiAffinityLabel: "app" };
      expect((await create(clients[0]!, "of-another-kind", other)).id).toBeTruthy();
      const { instances } = await clients[0]!.listInstances({ nodeId: "node-2", labels: { app: "db" } });
      await clients[0]!.deleteInstance({ instanceId: instances[0]!.id });
      await plane.untilState(instances[0]!.id, "DELETED");
      expect((await create(clients[1]!, "the-next", more)).nodeId).toBe("node-2");
    });

    test("no node fits: each says why", async () => {
      await plane.start();
      const operator = await plane.client();
      expect(await refusal(create(operator, "nowhere"))).toMatchObject({
        code: "RESOURCE_EXHAUSTED",
        reason: "NoNodeFits",
        details: { nodeCount: 0, nodes: [] },
      });
      await plane.node("node-1", { maintenance: true });
      await plane.node("node-2", { supportedInstanceTypes: ["container"] });
      await plane.node("node-3", { region: "east" });
      await untilNodesAreKnown(operator, 3);
      const { errors } = await plane.execute(
        "operator",
        "mutation ($input: CreateInstanceInput!) { createInstance(input: $input) { instance { id } } }",
        {
          input: { name: "unplaceable", type: "VM", spec: { ...VM, cpuCores: 1_024 }, nodeLabels: [] },
        },
      );
      expect(errors?.[0]?.extensions).toMatchObject({
        code: "RESOURCE_EXHAUSTED",
        reason: "NoNodeFits",
        nodeCount: 3,
        nodes: [
          { nodeId: "node-1", hostname: "node-1", reason: "Maintenance", message: expect.any(String) },
          { nodeId: "node-2", reason: "TypeNotSupported" },
          { nodeId: "node-3", reason: "InsufficientCpu" },
        ],
      });
      expect(await refusal(create(operator, "preferring", { preferredNodeId: "node-9" }))).toMatchObject({
        code: "NOT_FOUND",
        details: { field: "preferred_node_id" },
      });
      expect((await create(operator, "placed", { preferredNodeId: "node-3" })).nodeId).toBe("node-3");
    });
  });
}
