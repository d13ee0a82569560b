import type { PciDevice, PciInventory } from "../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import type { HostChannel, HostNeeds } from "../../host/host-channel.ts";
import type { DeviceUsers } from "../device-users.ts";
import { type DeviceIds, PCI_IDS } from "../ids/device-ids.ts";
import { readInterfaceLinks } from "../own-use/own-network.ts";
import { OWN_USE_NEEDS, readOwnUses } from "../own-use/own-use.ts";
import { mapBounded } from "../read-optional.ts";
import { Unavailable } from "../unavailable.ts";
import { NVME_NEEDS, readNvmeControllers } from "./nvme.ts";
import { PciBus } from "./pci-bus.ts";
import { PCI_DEVICES, PCI_FILES_NEEDS, type PciFiles, readPciFiles } from "./pci-files.ts";
import { pciNames } from "./pci-names.ts";

const MOST_DEVICES = 4096;
const AT_ONCE = 16;

export const PCI_NEEDS: HostNeeds = {
  paths: [...new Set([...PCI_FILES_NEEDS.paths, ...NVME_NEEDS.paths, ...OWN_USE_NEEDS.paths])],
  commands: [],
};

/**
 * The host's PCI devices in the order of their addresses. A host without the bus has none, and `unavailable` says so. What holds for all
 * of them alike is there once: "devices[*].numaNode". Never throws for what the host does not tell.
 */
export async function readPci(host: HostChannel, users: DeviceUsers, ids: DeviceIds = PCI_IDS): Promise<PciInventory> {
  const unavailable = new Unavailable();
  const devices = (await unavailable.attempt("devices", () => readAll(host, users, unavailable))) ?? [];
  if (devices.length === 0) return { devices: [], unavailable: unavailable.fields };
  if (devices.every(({ iommuGroup }) => iommuGroup === undefined)) {
    unavailable.add("devices[*].iommuGroup", "NOT_PRESENT", "The host has no IOMMU in use.");
  }
  if (devices.every(({ numaNode = -1 }) => numaNode < 0)) {
    unavailable.add("devices[*].numaNode", "NOT_SUPPORTED", "The firmware does not tell which NUMA node a device is at.");
  }
  const interfaces = (await unavailable.attempt("devices[*].interfaces", () => readInterfaceLinks(host))) ?? [];
  const bus = new PciBus({
    devices,
    interfaces,
    users,
    nvme: (await unavailable.attempt("devices[*].nvme", () => readNvmeControllers(host))) ?? new Map(),
    own: await readOwnUses(host, interfaces, users.pools),
    names: (await unavailable.attempt("devices[*].vendorName", () => pciNames(ids, devices))) ?? null,
  });
  return { devices: devices.map((device, index) => bus.device(device, `devices[${index}]`, unavailable)), unavailable: unavailable.fields };
}

/** Without what changes by itself: a card that has nothing to do lowers its link's speed, and raises it again. */
export function steadyPci(inventory: PciInventory): PciInventory {
  const steady = (device: PciDevice): PciDevice => ({ ...device, link: device.link && { ...device.link, speedGts: undefined } });
  return { ...inventory, devices: inventory.devices.map(steady) };
}

async function readAll(host: HostChannel, users: DeviceUsers, unavailable: Unavailable): Promise<PciFiles[]> {
  const addresses = await host.list(PCI_DEVICES);
  if (addresses.length > MOST_DEVICES) {
    unavailable.add(
      "devices",
      "UNREADABLE",
      `The host has ${addresses.length} PCI devices; those after the first ${MOST_DEVICES} are left out.`,
    );
  }
  const devices = await mapBounded(addresses.slice(0, MOST_DEVICES).sort(), AT_ONCE, (address) =>
    unavailable.attempt("devices", () => readPciFiles(host, address, users)),
  );
  return devices.filter((device) => device !== undefined && device !== null);
}
