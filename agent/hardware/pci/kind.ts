import { PciKind } from "../../../schema/generated/proto/hypervisor/v1/inventory.ts";

/** Base class and subclass, as in the PCI Code and ID Assignment Specification. */
const NVME = 0x0108;
const VGA_CONTROLLER = 0x0300;
const CONTROLLER_3D = 0x0302;
const DISPLAY_OTHER = 0x0380;
const USB = 0x0c03;

const BASE_CLASSES: Record<number, PciKind> = {
  1: PciKind.STORAGE,
  2: PciKind.NETWORK,
  6: PciKind.BRIDGE,
  18: PciKind.ACCELERATOR,
};

/** Makers of GPUs. A display controller of anyone else (a BMC's, a virtual machine's) drives a screen and computes nothing. */
const GPU_VENDORS = new Set([
  0x10de, // NVIDIA
  0x1002, // AMD
  0x8086, // Intel
  0x1d94, // Hygon
  0x1ed5, // Moore Threads
  0x1e3e, // Iluvatar CoreX
  0x9999, // MetaX
]);

/** What a device is, by its class (24 bits) and its vendor. */
export function pciKind(classId: number, vendorId: number): PciKind {
  const kind = classId >>> 8;
  if (kind === CONTROLLER_3D) return PciKind.GPU;
  if (kind === VGA_CONTROLLER || kind === DISPLAY_OTHER) return GPU_VENDORS.has(vendorId) ? PciKind.GPU : PciKind.OTHER;
  if (kind === NVME) return PciKind.NVME;
  if (kind === USB) return PciKind.USB_CONTROLLER;
  return BASE_CLASSES[kind >>> 8] ?? PciKind.OTHER;
}
