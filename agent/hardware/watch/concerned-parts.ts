import { InventoryPart } from "../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import type { Uevent } from "./uevents.ts";

const { HARDWARE, PCI, USB, NETWORK, DISKS, ACCELERATORS } = InventoryPart;

/** By subsystem; those that are not here change nothing of the inventory (queues, bdi, tty, module, …). */
const CONCERNED: ReadonlyMap<string, readonly InventoryPart[]> = new Map([
  // What is plugged into PCI comes with it: a controller with its disks, a GPU.
  ["pci", [PCI, ACCELERATORS]],
  ["usb", [USB]],
  ["net", [NETWORK, PCI]],
  ["block", [DISKS]],
  ["nvme", [DISKS, PCI]],
  ["nvme-subsystem", [DISKS, PCI]],
  ["vfio", [PCI]],
  ["vfio-dev", [PCI]],
  ["iommu", [PCI]],
  ["drm", [ACCELERATORS]],
  ["accel", [ACCELERATORS]],
  ["cpu", [HARDWARE]],
  ["memory", [HARDWARE]],
  ["node", [HARDWARE]],
]);

/** Block devices that are no disks, and change often. */
const NO_DISK = /\/block\/(loop|ram|zram)\d+$/;
const VIRTUAL = "/devices/virtual/";

/** The parts of the inventory that may be another after this event. */
export function partsConcernedBy({ subsystem, devicePath }: Uevent): readonly InventoryPart[] {
  // Interfaces without a device (taps, bridges, …) come and go with every guest.
  if (subsystem === "net" && devicePath.startsWith(VIRTUAL)) return [NETWORK];
  if (subsystem === "block" && NO_DISK.test(devicePath)) return [];
  return CONCERNED.get(subsystem) ?? [];
}
