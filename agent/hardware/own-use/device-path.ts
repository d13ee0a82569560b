const PCI_ADDRESS = /^[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/;
const USB_PORT = /^\d+-\d+(?:\.\d+)*$/;

/** The PCI devices that a sysfs path leads through, the outermost first: bridges, and last the device itself. */
export function pciAddressesIn(path: string): string[] {
  return path.split("/").filter((segment) => PCI_ADDRESS.test(segment));
}

/** The USB devices that a sysfs path leads through by where they are plugged in ("1-2.3"): hubs, and last the device itself. */
export function usbPortsIn(path: string): string[] {
  return path.split("/").filter((segment) => USB_PORT.test(segment));
}
