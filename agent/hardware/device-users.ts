import type { DeviceUser } from "../../schema/generated/proto/hypervisor/v1/inventory.ts";

/** Who has what of the host, as its hypervisor and its storage pools tell. */
export interface DeviceUsers {
  /** By PCI address. */
  pci: ReadonlyMap<string, DeviceUser>;
  /** By `usbAtPort`; for those that are named so by bus and number ("1/4"), else by "vendor:product" in four hexadecimal digits each ("046d:c52b"). */
  usb: ReadonlyMap<string, DeviceUser>;
  /** Taps and veths of guests, by the interface's name on the host. */
  interfaces: ReadonlyMap<string, DeviceUser>;
  /** Names of storage pools by the device or folder that each stands on ("/dev/sdb1", "/srv/pool"). */
  pools: ReadonlyMap<string, string>;
}

/** Of a host whose hypervisor cannot be asked. */
export const NO_USERS: DeviceUsers = { pci: new Map(), usb: new Map(), interfaces: new Map(), pools: new Map() };

/** "046d:c52b@1-2.3": a device of this kind, as long as it is plugged in there. */
export function usbAtPort({ port, vendorId, productId }: { port: string; vendorId: number; productId: number }): string {
  const [vendor, product] = [vendorId, productId].map((id) => id.toString(16).padStart(4, "0"));
  return `${vendor}:${product}@${port}`;
}
