import { describe, expect, it } from "vitest";
import {
  DiskHealth,
  DiskInventory,
  type NetworkInterface,
  NetworkInventory,
  type PciDevice,
  PciInventory,
  type UsbDevice,
  UsbInventory,
} from "../../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import { hardwareChanges, hardwareGone } from "../../../../subgraphs/nodes/services/inventory/hardware-changes.ts";
import type { InventoryPartName, StoredContent } from "../../../../subgraphs/nodes/services/inventory/inventory-parts.ts";

/** As the database gives a message back. */
function stored(message: object): StoredContent {
  return JSON.parse(JSON.stringify(message)) as StoredContent;
}

function changes(part: InventoryPartName, before: object | null, after: object): string[] {
  return hardwareChanges(part, before && stored(before), stored(after)).map(({ kind, id }) => `${kind} ${id}`);
}

const pci = (...devices: Array<Partial<PciDevice>>) => PciInventory.fromPartial({ devices });
const disks = (...list: Array<{ name: string; serial?: string; smart?: object }>) => DiskInventory.fromPartial({ disks: list });
const interfaces = (...list: Array<Partial<NetworkInterface>>) => NetworkInventory.fromPartial({ interfaces: list });
const usb = (...list: Array<Partial<UsbDevice>>) => UsbInventory.fromPartial({ devices: list });

describe("changes of hardware", () => {
  it("are devices that came and went, what is gone first", () => {
    expect(changes("PCI", pci({ address: "a" }, { address: "b" }), pci({ address: "b" }, { address: "c" }))).toEqual([
      "DEVICE_REMOVED a",
      "DEVICE_ADDED c",
    ]);
  });

  it("are not what is found at the first reading, or after one that failed", () => {
    const failed = PciInventory.fromPartial({ unavailable: [{ field: "devices", reason: "NO_SHELL", message: "" }] });
    expect(changes("PCI", null, pci({ address: "a" }))).toEqual([]);
    expect(changes("PCI", pci({ address: "a" }), failed)).toEqual([]);
    expect(changes("PCI", failed, pci({ address: "a" }))).toEqual([]);
    expect(changes("PCI", pci({ address: "a" }), pci())).toEqual(["DEVICE_REMOVED a"]);
  });

  it("are drivers and users, but not the speed of a link that saves power", () => {
    const [idle, busy] = [2.5, 16].map((speedGts) => ({ address: "a", link: { speedGts, maxSpeedGts: 16, width: 16, maxWidth: 16 } }));
    expect(changes("PCI", pci(idle as object), pci(busy as object))).toEqual([]);
    const [change] = hardwareChanges(
      "PCI",
      stored(pci({ address: "a", driver: "nvme" })),
      stored(pci({ address: "a", driver: "vfio-pci" })),
    );
    expect(change).toMatchObject({ kind: "DEVICE_CHANGED", description: "PCI device (a) changed: driver.", item: { driver: "vfio-pci" } });
  });

  it("are a replacement where another piece has the place", () => {
    const before = usb({ port: "1-1", device: 4, vendorId: 1 });
    expect(changes("USB", before, usb({ port: "1-1", device: 5, vendorId: 1 }))).toEqual(["DEVICE_REMOVED 1-1", "DEVICE_ADDED 1-1"]);
    expect(changes("DISKS", disks({ name: "sda", serial: "A" }), disks({ name: "sda", serial: "B" }))).toEqual([
      "DEVICE_REMOVED sda",
      "DEVICE_ADDED sda",
    ]);
    // A serial number that could not be read one time says nothing.
    expect(changes("DISKS", disks({ name: "sda", serial: "A" }), disks({ name: "sda" }))).toEqual(["DEVICE_CHANGED sda"]);
  });

  it("are links that go down and up", () => {
    const eth0 = (more: object) => interfaces({ name: "eth0", index: 2, enabled: true, carrier: true, state: "UP", ...more });
    expect(changes("NETWORK", eth0({}), eth0({ carrier: false, state: "DOWN" }))).toEqual(["LINK_DOWN eth0"]);
    expect(changes("NETWORK", eth0({}), eth0({ enabled: false, carrier: undefined, state: "DOWN" }))).toEqual(["LINK_DOWN eth0"]);
    expect(changes("NETWORK", eth0({ carrier: undefined, state: "DOWN" }), eth0({ carrier: undefined }))).toEqual(["LINK_UP eth0"]);
    expect(changes("NETWORK", eth0({}), eth0({ mtu: 9000 }))).toEqual(["DEVICE_CHANGED eth0"]);
    expect(changes("NETWORK", eth0({}), eth0({ index: 7 }))).toEqual(["DEVICE_REMOVED eth0", "DEVICE_ADDED eth0"]);
  });

  it("are disks that fail and recover, but not their temperatures", () => {
    const nvme = (health: DiskHealth, more: object = {}) => disks({ name: "nvme0n1", smart: { health, problems: [], ...more } });
    const { HEALTHY, WARNING, FAILED, UNSPECIFIED } = DiskHealth;
    expect(changes("DISKS", nvme(HEALTHY), nvme(WARNING))).toEqual(["DISK_FAILING nvme0n1"]);
    expect(changes("DISKS", nvme(WARNING), nvme(FAILED))).toEqual(["DISK_FAILING nvme0n1"]);
    expect(changes("DISKS", nvme(FAILED), nvme(HEALTHY))).toEqual(["DISK_RECOVERED nvme0n1"]);
    expect(changes("DISKS", nvme(WARNING), nvme(UNSPECIFIED))).toEqual(["DEVICE_CHANGED nvme0n1"]);
    expect(changes("DISKS", nvme(WARNING, { temperatureCelsius: 40 }), nvme(WARNING, { temperatureCelsius: 50 }))).toEqual([]);
    // A disk that fails is told of when it is first seen, too.
    expect(changes("DISKS", null, nvme(FAILED))).toEqual(["DISK_FAILING nvme0n1"]);
    expect(changes("DISKS", null, nvme(HEALTHY))).toEqual([]);
    expect(changes("DISKS", disks(), nvme(FAILED))).toEqual(["DEVICE_ADDED nvme0n1", "DISK_FAILING nvme0n1"]);
    const [change] = hardwareChanges("DISKS", null, stored(nvme(FAILED, { problems: ["Its spare blocks are used up."] })));
    expect(change?.description).toBe("Disk nvme0n1 is failing: Its spare blocks are used up.");
  });

  it("are, for a node that left, all that it had", () => {
    const gone = hardwareGone("PCI", stored(pci({ address: "a" }, { address: "b" })));
    expect(gone.map(({ kind, id }) => `${kind} ${id}`)).toEqual(["DEVICE_REMOVED a", "DEVICE_REMOVED b"]);
    expect(hardwareGone("HOST", stored({ unavailable: [] }))).toEqual([]);
  });
});
