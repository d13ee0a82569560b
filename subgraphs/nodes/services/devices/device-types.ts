import type { DeviceName } from "../../../../schema/generated/proto/hypervisor/v1/devices.ts";

export const DEVICE_KINDS = ["PCI", "USB"] as const;
export type DeviceKind = (typeof DEVICE_KINDS)[number];

export const ASSIGNMENT_STATES = ["ATTACHING", "ATTACHED", "DETACHING"] as const;
export type AssignmentState = (typeof ASSIGNMENT_STATES)[number];

/** A device of a node by where it is. */
export interface DevicePlace {
  kind: DeviceKind;
  /** A PCI address or a USB port. */
  at: string;
}

/** What an instance has, as it is shown. */
export interface InstanceDeviceView {
  nodeId: string;
  kind: DeviceKind;
  pciAddress: string | null;
  usbPort: string | null;
  state: AssignmentState;
  /** By whom it was last asked for. */
  requestedBy: string;
  model: string | null;
  plugged: boolean | null;
  unavailable: Array<{ field: string; reason: string; message: string }>;
}

export function deviceKey({ kind, at }: DevicePlace): string {
  return `${kind.toLowerCase()}:${at}`;
}

export function placeOf(device: string): DevicePlace {
  const colon = device.indexOf(":");
  return { kind: device.startsWith("pci:") ? "PCI" : "USB", at: device.slice(colon + 1) };
}

/** As an agent names it. */
export function deviceKeyOf(name: DeviceName | undefined): string {
  return name?.usb === undefined ? `pci:${name?.pciAddress ?? ""}` : `usb:${name.usb.port}`;
}
