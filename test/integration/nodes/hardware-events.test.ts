import { createHash } from "node:crypto";
import type { ExecutionResult } from "graphql";
import { afterEach, beforeEach, expect, it } from "vitest";
import { InventoryPart, NetworkInterfaceKind } from "../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import type { NodesSubgraph } from "../../../subgraphs/nodes/main.ts";
import { type InventoryClient, NODES_VARIANTS, NodesFleet } from "../../support/nodes-fleet.ts";
import { describeWithPeers } from "../../support/peers.ts";
import { until } from "../../support/until.ts";

const EVENTS = `subscription ($filter: NodeHardwareEventFilter, $after: String, $snapshot: Boolean) {
  nodeHardwareEvents(filter: $filter, after: $after, snapshot: $snapshot) { type cursor nodeHardwareChange {
    node { id } part id kind description usbDevice { port productName } networkInterface { name state } } } }`;

interface Shown {
  type: string;
  cursor: string;
  nodeHardwareChange: {
    part: string;
    id: string;
    kind: string;
    description: string;
    usbDevice: object | null;
    networkInterface: object | null;
  };
}

for (const variant of NODES_VARIANTS) {
  describeWithPeers(`events of hardware, on ${variant.name}`, variant.peers, () => {
    let fleet: NodesFleet;
    let subgraph: NodesSubgraph;
    let client: InventoryClient;

    beforeEach(async () => {
      fleet = await NodesFleet.open(variant.name);
      for (const id of ["node-1", "node-2"]) fleet.agents.cluster.set({ id, agentId: "a1" });
      subgraph = await fleet.start();
      await until(() => subgraph.ready());
      client = await fleet.inventory("a1");
    });

    afterEach(() => fleet.close());

    async function usb(nodeId: string, ...ports: string[]): Promise<void> {
      const devices = ports.map((port) => ({ port, device: 1, productName: `Stick ${port}` }));
      await report(nodeId, { part: InventoryPart.USB, usb: { devices } });
    }

    async function eth0(carrier: boolean): Promise<void> {
      const one = { name: "eth0", index: 2, kind: NetworkInterfaceKind.PHYSICAL, enabled: true, carrier, state: carrier ? "UP" : "DOWN" };
      await report("node-1", { part: InventoryPart.NETWORK, network: { interfaces: [one] } });
    }

    async function report(nodeId: string, content: object): Promise<void> {
      const digest = createHash("sha256").update(JSON.stringify(content)).digest("hex");
      await client.reportInventory({ nodeId, digest, observedAt: new Date(), ...content });
    }

    async function watch(variables: Record<string, unknown> = {}) {
      const events = await fleet.subscribe(subgraph, EVENTS, variables);
      return async (): Promise<Shown> => {
        const { value } = (await events.next()) as { value: ExecutionResult };
        if (value.errors) throw new Error(JSON.stringify(value.errors));
        return (value.data as { nodeHardwareEvents: Shown }).nodeHardwareEvents;
      };
    }

    const brief = ({ type, nodeHardwareChange: change }: Shown) => `${type} ${change?.kind} ${change?.id}`;

    it("tell what came, went and changed, in order, and go on behind a cursor", async () => {
      const next = await watch();
      expect((await next()).type).toBe("BOOKMARK");
      await usb("node-1", "1-1");
      await eth0(true);
      await usb("node-1", "1-1", "1-2");
      const added = await next();
      expect(added).toEqual({
        ...{ type: "ADDED", cursor: expect.any(String) },
        nodeHardwareChange: {
          ...{ node: { id: "node-1" }, part: "USB", id: "1-2", kind: "DEVICE_ADDED", description: "Stick 1-2 (1-2) was added." },
          ...{ usbDevice: { port: "1-2", productName: "Stick 1-2" }, networkInterface: null },
        },
      });
      await eth0(false);
      const down = await next();
      expect([brief(down), down.nodeHardwareChange.networkInterface]).toEqual(["MODIFIED LINK_DOWN eth0", { name: "eth0", state: "DOWN" }]);
      await eth0(true);
      await usb("node-1", "1-2");
      expect([brief(await next()), brief(await next())]).toEqual(["MODIFIED LINK_UP eth0", "DELETED DEVICE_REMOVED 1-1"]);
      const resumed = await watch({ after: added.cursor });
      expect([brief(await resumed()), brief(await resumed()), brief(await resumed())]).toEqual([
        ...["MODIFIED LINK_DOWN eth0", "MODIFIED LINK_UP eth0", "DELETED DEVICE_REMOVED 1-1"],
      ]);
      // Of what is there, the last change; of what is gone, nothing.
      const snapshot = await watch({ snapshot: true });
      expect([brief(await snapshot()), brief(await snapshot()), (await snapshot()).type]).toEqual([
        ...["ADDED LINK_UP eth0", "ADDED DEVICE_ADDED 1-2", "BOOKMARK"],
      ]);
    });

    it("can be those of one node, or of some parts", async () => {
      const ofNode = await watch({ filter: { nodeId: "node-2" } });
      const ofPart = await watch({ filter: { parts: ["NETWORK"] } });
      expect([(await ofNode()).type, (await ofPart()).type]).toEqual(["BOOKMARK", "BOOKMARK"]);
      for (const id of ["node-1", "node-2"]) await usb(id);
      await eth0(true);
      for (const id of ["node-1", "node-2"]) await usb(id, `1-${id}`);
      await eth0(false);
      expect(brief(await ofNode())).toBe("ADDED DEVICE_ADDED 1-node-2");
      expect(brief(await ofPart())).toBe("MODIFIED LINK_DOWN eth0");
      await expect((await watch({ filter: { nodeId: "" } }))()).rejects.toThrow("filter.nodeId");
    });

    it("end with a node that leaves the fleet: its devices are gone", async () => {
      const next = await watch({ filter: { nodeId: "node-1" } });
      expect((await next()).type).toBe("BOOKMARK");
      await usb("node-1");
      await usb("node-1", "1-1");
      expect(brief(await next())).toBe("ADDED DEVICE_ADDED 1-1");
      fleet.agents.cluster.delete("node-1");
      expect((await next()).nodeHardwareChange.description).toBe("Stick 1-1 (1-1) left the fleet with its node.");
      const snapshot = await watch({ snapshot: true });
      expect((await snapshot()).type).toBe("BOOKMARK");
    });
  });
}
