export const PCI_KINDS = ["GPU", "ACCELERATOR", "NETWORK", "NVME", "STORAGE", "USB_CONTROLLER", "BRIDGE", "OTHER"] as const;
export type PciKindName = (typeof PCI_KINDS)[number];

export const INTERFACE_KINDS = ["PHYSICAL", "VIRTUAL_FUNCTION", "BRIDGE", "BOND", "VLAN", "VETH", "TAP", "LOOPBACK", "OTHER"] as const;
export type InterfaceKindName = (typeof INTERFACE_KINDS)[number];

export const DISK_HEALTHS = ["HEALTHY", "WARNING", "FAILED"] as const;
export type DiskHealthName = (typeof DISK_HEALTHS)[number];

export const ACCELERATOR_VENDORS = ["NVIDIA", "HUAWEI", "HYGON", "AMD", "CAMBRICON", "OTHER"] as const;
export type AcceleratorVendorName = (typeof ACCELERATOR_VENDORS)[number];

/** The name without the prefix that protobuf's enums have; null for UNSPECIFIED, and for one of a newer agent. */
export function enumName<T extends string>(names: readonly T[], prefix: string, value: string | undefined): T | null {
  return names.find((name) => value === prefix + name) ?? null;
}
