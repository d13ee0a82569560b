import { registerEnumType } from "type-graphql";
import { enumOf } from "../../../kit/graphql/enum-of.ts";
import { HARDWARE_CHANGE_KINDS } from "../../services/inventory/hardware-subjects.ts";
import { INVENTORY_PARTS } from "../../services/inventory/inventory-parts.ts";
import { ACCELERATOR_VENDORS, DISK_HEALTHS, INTERFACE_KINDS, PCI_KINDS } from "../../services/inventory/views/enum-names.ts";

export const InventoryPartEnum = enumOf(INVENTORY_PARTS);
registerEnumType(InventoryPartEnum, {
  name: "InventoryPart",
  description: "What a node's inventory is reported by.",
  valuesConfig: {
    HARDWARE: { description: "CPUs, memory, firmware and board." },
    HOST: { description: "The operating system, and what runs virtual machines." },
  },
});

export const PciKindEnum = enumOf(PCI_KINDS);
registerEnumType(PciKindEnum, {
  name: "PciKind",
  description: "What a PCI device is, by its class.",
  valuesConfig: {
    GPU: { description: "Classes 0x0300 and 0x0302: with and without an output for screens." },
    ACCELERATOR: { description: "Class 0x12: processing accelerators." },
    STORAGE: { description: "Controllers of disks other than NVMe." },
  },
});

export const NodeInterfaceKindEnum = enumOf(INTERFACE_KINDS);
registerEnumType(NodeInterfaceKindEnum, {
  name: "NodeInterfaceKind",
  description: "What a network interface of a host is.",
  valuesConfig: {
    VIRTUAL_FUNCTION: { description: "Of an SR-IOV network card." },
    TAP: { description: "A tun or tap device: the host's end of a VM's interface, mostly." },
    VETH: { description: "One end of a pair: the host's end of a container's interface, mostly." },
  },
});

export const DiskHealthEnum = enumOf(DISK_HEALTHS);
registerEnumType(DiskHealthEnum, {
  name: "DiskHealth",
  description: "What SMART says of a disk.",
  valuesConfig: {
    WARNING: { description: "It works, and something is not as it should be: see `problems`." },
    FAILED: { description: "It says itself that it fails, or is about to." },
  },
});

export const AcceleratorVendorEnum = enumOf(ACCELERATOR_VENDORS);
registerEnumType(AcceleratorVendorEnum, { name: "AcceleratorVendor", description: "Who made an accelerator." });

export const HardwareChangeKindEnum = enumOf(HARDWARE_CHANGE_KINDS);
registerEnumType(HardwareChangeKindEnum, {
  name: "HardwareChangeKind",
  description: "What happened to a piece of hardware.",
  valuesConfig: {
    DEVICE_REMOVED: { description: "It is gone from the host, or its node has left the fleet." },
    DEVICE_CHANGED: { description: "Something about it that lasts: its driver, its user, its addresses; not temperatures or free space." },
    LINK_UP: { description: "A network interface is switched on and has a carrier." },
    LINK_DOWN: { description: "A network interface lost its carrier, or was switched off." },
    DISK_FAILING: { description: "A disk's SMART health became WARNING or FAILED, or was so when it was first read." },
    DISK_RECOVERED: { description: "A disk's SMART health is HEALTHY again." },
  },
});
