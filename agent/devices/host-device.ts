import { invalidArgument } from "../../platform/errors/fleet-error.ts";
import type { DeviceName } from "../../schema/generated/proto/hypervisor/v1/devices.ts";

/** A device of the host, by where it is. */
export type HostDevice = PciPlace | UsbPlace;

export interface PciPlace {
  kind: "pci";
  /** "0000:01:00.0" */
  address: string;
}

export interface UsbPlace {
  kind: "usb";
  /** "1-2.3" */
  port: string;
  /** What is expected there; 0: whatever is. */
  vendorId: number;
  productId: number;
}

const PCI_ADDRESS = /^[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/;
const USB_PORT = /^\d{1,3}-\d{1,3}(\.\d{1,3}){0,6}$/;
const MOST_ID = 0xffff;

/** Throws INVALID_ARGUMENT. */
export function checkPciAddress(field: string, address: string): string {
  const lower = address.toLowerCase();
  if (!PCI_ADDRESS.test(lower)) throw invalidArgument(field, "A PCI address has domain, bus, device and function: 0000:01:00.0.");
  return lower;
}

/** Throws INVALID_ARGUMENT. */
export function checkDevice(device: DeviceName | undefined): HostDevice {
  const { pciAddress = "", usb } = device ?? {};
  if ((pciAddress === "") === (usb === undefined)) throw invalidArgument("device", "Either a PCI address or a USB port is needed.");
  if (usb === undefined) return { kind: "pci", address: checkPciAddress("device.pci_address", pciAddress) };
  const { port, vendorId, productId } = usb;
  if (!USB_PORT.test(port)) throw invalidArgument("device.usb.port", "A USB port is a bus and the ports on the way: 1-2.3.");
  for (const [field, id] of Object.entries({ vendor_id: vendorId, product_id: productId })) {
    if (!Number.isInteger(id) || id < 0 || id > MOST_ID) throw invalidArgument(`device.usb.${field}`, "It is a number of 16 bits.");
  }
  return { kind: "usb", port, vendorId, productId };
}
