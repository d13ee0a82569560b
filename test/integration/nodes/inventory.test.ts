import { createHash } from "node:crypto";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { FleetError } from "../../../platform/errors/fleet-error.ts";
import { grpcService } from "../../../platform/grpc/server.ts";
import type { ReportInventoryRequest } from "../../../schema/generated/proto/hypervisor/v1/agent.ts";
import {
  AcceleratorVendor,
  DiskHealth,
  InventoryPart,
  NetworkInterfaceKind,
  PciKind,
  TelemetryAgentServiceDefinition,
} from "../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import { Store } from "../../../subgraphs/kit/store/orm.ts";
import type { NodesSubgraph } from "../../../subgraphs/nodes/main.ts";
import { agentKeyPair } from "../../support/certificates.ts";
import { type InventoryClient, NODES_VARIANTS, NodesFleet } from "../../support/nodes-fleet.ts";
import { describeWithPeers } from "../../support/peers.ts";
import { until } from "../../support/until.ts";

type Report = Parameters<InventoryClient["reportInventory"]>[0];

const GPU = { address: "0000:01:00.0", kind: PciKind.GPU, deviceName: "GA100", link: undefined, passthrough: { possible: true } };
const DISK_CONTROLLER = {
  address: "0000:02:00.0",
  kind: PciKind.NVME,
  passthrough: { possible: false, reason: "RootDisk", message: "No." },
};
const PCI = {
  part: InventoryPart.PCI,
  pci: {
    devices: [{ ...GPU, user: { instanceId: "inst-1", guestName: "inst-1" } }, DISK_CONTROLLER],
    unavailable: [{ field: "devices[1].link", reason: "NOT_PRESENT", message: "No link." }],
  },
};
const NETWORK = {
  part: InventoryPart.NETWORK,
  network: {
    interfaces: [
      { name: "br0", index: 3, kind: NetworkInterfaceKind.BRIDGE, state: "UP", enabled: true, bridge: { members: ["eth0", "vnet0"] } },
      { name: "eth0", index: 2, kind: NetworkInterfaceKind.PHYSICAL, state: "UP", enabled: true, carrier: true, mtu: 1500, master: "br0" },
      { name: "lo", index: 1, kind: NetworkInterfaceKind.LOOPBACK, state: "UNKNOWN", enabled: true },
      {
        name: "vnet0",
        index: 9,
        kind: NetworkInterfaceKind.TAP,
        state: "UP",
        enabled: true,
        user: { instanceId: "", guestName: "theirs" },
      },
    ],
  },
};
const DISKS = {
  part: InventoryPart.DISKS,
  disks: { disks: [{ name: "nvme0n1", sizeBytes: 2 ** 41, smart: { health: DiskHealth.HEALTHY, checkedAt: new Date(5000) } }] },
};
const ACCELERATORS = {
  part: InventoryPart.ACCELERATORS,
  accelerators: { accelerators: [{ id: "GPU-1", vendor: AcceleratorVendor.NVIDIA, memoryTotalBytes: 80 * 2 ** 30 }] },
};
const HOST = { part: InventoryPart.HOST, host: { uuid: "u-1", bootedAt: new Date(9000), kernel: "6.1\u0000" } };
const USB = { part: InventoryPart.USB, usb: { controllers: [{ driver: "xhci_hcd" }], devices: [{ port: "1-2", bus: 1, device: 4 }] } };

for (const variant of NODES_VARIANTS) {
  describeWithPeers(`inventories of nodes by part, on ${variant.name}`, variant.peers, () => {
    let fleet: NodesFleet;
    let subgraph: NodesSubgraph;
    let client: InventoryClient;

    beforeEach(async () => {
      fleet = await NodesFleet.open(variant.name);
      fleet.agents.cluster.set({ id: "node-1", agentId: "a1" });
      subgraph = await fleet.start();
      await until(() => subgraph.ready());
      client = await fleet.inventory("a1");
    });

    afterEach(() => fleet.close());

    async function report(content: Report, nodeId = "node-1"): Promise<boolean> {
      const digest = createHash("sha256").update(JSON.stringify(content)).digest("hex");
      const { wanted } = await client.reportInventory({ nodeId, digest, observedAt: new Date(), ...content });
      return wanted ?? false;
    }

    // biome-ignore lint/suspicious/noExplicitAny: what comes back is what the test asked for
    async function node(fields: string, id = "node-1"): Promise<any> {
      const { data, errors } = await fleet.nodes(subgraph, [id], fields);
      if (errors) throw new Error(JSON.stringify(errors));
      return (data as { _entities: unknown[] })._entities[0];
    }

    it("shows every part as it was reported, and all of many nodes with one query per part", async () => {
      for (const part of [PCI, NETWORK, DISKS, ACCELERATORS, HOST, USB]) expect(await report(part as Report)).toBe(false);
      expect(await client.reportInventory({ nodeId: "node-1", ...digestOnly(PCI as Report) })).toMatchObject({ wanted: false });
      const reads = vi.spyOn(Store.prototype, "read");
      const shown = await node(`
        host { uuid kernel bootedAt hypervisor observedAt }
        pciDevices { address kind deviceName passthrough { possible reason } user { instance { id } guestName } }
        gpus: pciDevices(kind: GPU) { address } passable: pciDevices(passthroughPossible: true) { address }
        usbControllers { driver } usbDevices { port user { guestName } }
        network { nics { name kind master carrier } bridges { bridge { members { name user { instance { id } guestName } } } }
          others { name } taps: others(kinds: [TAP]) { name } bonds { name } observedAt }
        disks { name sizeBytes smart { health checkedAt } } failed: disks(health: FAILED) { name }
        accelerators { id vendor memoryTotalBytes unavailable { field } } acceleratorLinks { from }`);
      expect(reads).toHaveBeenCalledTimes(6);
      reads.mockRestore();
      expect(shown.host).toEqual({
        ...{ uuid: "u-1", kernel: "6.1\ufffd", bootedAt: "1970-01-01T00:00:09.000Z", hypervisor: null },
        observedAt: expect.any(String),
      });
      const user = { instance: { id: "inst-1" }, guestName: "inst-1" };
      expect(shown.pciDevices).toEqual([
        { address: GPU.address, kind: "GPU", deviceName: "GA100", passthrough: { possible: true, reason: "" }, user },
        {
          ...{ address: DISK_CONTROLLER.address, kind: "NVME", deviceName: null, user: null },
          passthrough: { possible: false, reason: "RootDisk" },
        },
      ]);
      expect([shown.gpus, shown.passable]).toEqual([[{ address: GPU.address }], [{ address: GPU.address }]]);
      expect([shown.usbControllers, shown.usbDevices]).toEqual([[{ driver: "xhci_hcd" }], [{ port: "1-2", user: null }]]);
      expect(shown.network).toMatchObject({
        nics: [{ name: "eth0", kind: "PHYSICAL", master: "br0", carrier: true }],
        bridges: [
          {
            bridge: {
              members: [
                { name: "eth0", user: null },
                { name: "vnet0", user: { instance: null, guestName: "theirs" } },
              ],
            },
          },
        ],
        ...{ others: [{ name: "lo" }, { name: "vnet0" }], taps: [{ name: "vnet0" }], bonds: [] },
      });
      expect(shown.disks).toEqual([
        { name: "nvme0n1", sizeBytes: 2 ** 41, smart: { health: "HEALTHY", checkedAt: "1970-01-01T00:00:05.000Z" } },
      ]);
      expect([shown.failed, shown.acceleratorLinks]).toEqual([[], []]);
      expect(shown.accelerators).toEqual([{ id: "GPU-1", vendor: "NVIDIA", memoryTotalBytes: 80 * 2 ** 30, unavailable: [] }]);
    });

    it("says of each part when it was read, and what could not be", async () => {
      await report(PCI as Report);
      await report({ part: InventoryPart.DISKS, disks: { unavailable: [{ field: "disks", reason: "NO_SHELL", message: "No shell." }] } });
      const shown = await node("inventoryStatus { part observedAt unavailable { field reason } } disks { name } usbDevices { port }");
      const status = Object.fromEntries(shown.inventoryStatus.map((one: { part: string }) => [one.part, one]));
      expect(status.PCI).toMatchObject({
        observedAt: expect.any(String),
        unavailable: [{ field: `devices[${DISK_CONTROLLER.address}].link`, reason: "NOT_PRESENT" }],
      });
      expect(status.DISKS.unavailable).toEqual([{ field: "disks", reason: "NO_SHELL" }]);
      expect(status.USB).toMatchObject({ observedAt: null, unavailable: [{ field: "usb", reason: "NOT_REPORTED_YET" }] });
      // A list that could not be read is not an empty one.
      expect([shown.disks, shown.usbDevices]).toEqual([null, null]);
      expect(await node("host { uuid } network { observedAt } inventoryStatus { part }", "gone")).toEqual({
        ...{ id: "gone", host: null, network: null, inventoryStatus: null },
      });
    });

    it("refuses a report with another part's content, and a part that it does not know", async () => {
      const refusal = (content: Partial<ReportInventoryRequest>) =>
        report(content as Report).then(
          () => "taken",
          (error: FleetError) => [error.code, error.details["field"]].join(" "),
        );
      expect(await refusal({ part: InventoryPart.USB, pci: PCI.pci } as never)).toBe("INVALID_ARGUMENT pci");
      expect(await refusal({ part: 99 as never })).toBe("INVALID_ARGUMENT part");
    });

    it("reads counters and usage from the agent only where they are selected", async () => {
      const calls: string[] = [];
      const zero = { rxBytes: 0, txBytes: 0, rxPackets: 0, txPackets: 0, rxErrors: 0, txErrors: 0, rxDropped: 0, txDropped: 0 };
      const counters = { observedAt: new Date(), interfaces: [{ ...zero, name: "eth0", rxBytes: 7 }] };
      const service = grpcService(TelemetryAgentServiceDefinition, {
        getNetworkCounters: async () => {
          calls.push("counters");
          return { ...counters, unavailable: [] };
        },
        getAcceleratorUsage: async () => {
          calls.push("usage");
          return { observedAt: new Date(), samples: [], unavailable: [{ field: "nvidia-smi", reason: "NO_PERMISSION", message: "No." }] };
        },
        async *watchNetworkCounters({ intervalSeconds, interfaces }) {
          for (let sample = 0; sample < 2; sample += 1) yield { ...counters, unavailable: [] };
          calls.push(`${intervalSeconds} ${interfaces}`);
        },
      });
      const { port } = await fleet.agents.serveServices(await agentKeyPair(fleet.agents.ca, "a1"), [service]);
      await report(NETWORK as Report);
      await report(ACCELERATORS as Report);
      const silent = await node("network { nics { counters { rxBytes } } unavailable { field reason } }");
      expect(silent.network).toEqual({ nics: [{ counters: null }], unavailable: [{ field: "counters", reason: "NO_ADDRESS" }] });
      fleet.agents.cluster.set({ id: "node-1", ip: "127.0.0.1", port });
      await until(async () => {
        const { network } = await node("network { nics { counters { rxBytes } } bridges { counters { rxBytes } } unavailable { field } }");
        return network.nics[0].counters?.rxBytes === 7 && network.bridges[0].counters === null && network.unavailable.length === 0;
      });
      expect(new Set(calls)).toEqual(new Set(["counters"]));
      const { accelerators } = await node("accelerators { usage { memoryUsedBytes } unavailable { field reason } }");
      expect(accelerators).toEqual([{ usage: null, unavailable: [{ field: "usage", reason: "NO_PERMISSION" }] }]);
      const samples = await fleet.subscribe(
        subgraph,
        `subscription { nodeTraffic(nodeId: "node-1", intervalSeconds: 2, interfaces: ["eth0"]) { node { id } interfaces { name rxBytes rxBytesPerSecond } } }`,
      );
      expect((await samples.next()).value).toEqual({
        data: { nodeTraffic: { node: { id: "node-1" }, interfaces: [{ name: "eth0", rxBytes: 7, rxBytesPerSecond: null }] } },
      });
      await samples.next();
      expect((await samples.next()).done).toBe(true);
      expect(calls).toContain("2 eth0");
    });
  });
}

function digestOnly(content: Report) {
  const digest = createHash("sha256").update(JSON.stringify(content)).digest("hex");
  return { digest, part: content.part, observedAt: new Date() };
}
