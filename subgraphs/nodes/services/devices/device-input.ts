import { invalidArgument } from "../../../../platform/errors/fleet-error.ts";
import { checkInteger } from "../../../kit/input-checks.ts";
import type { DevicePlace } from "./device-types.ts";

/** What the faces hand over; values are not checked. */
export interface RawDevice {
  pciAddress?: string | null;
  usbPort?: string | null;
}

export interface RawUsbIds {
  vendorId?: number | null;
  productId?: number | null;
}

const PCI_ADDRESS = /^[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/;
const USB_PORT = /^\d{1,3}-\d{1,3}(\.\d{1,3}){0,6}$/;
const MOST_ID = 0xffff;

/** Throws INVALID_ARGUMENT that names the field. */
export function checkDevicePlace({ pciAddress, usbPort }: RawDevice): DevicePlace {
  if (!pciAddress === !usbPort) throw invalidArgument("pciAddress", "Either pciAddress or usbPort is needed.");
  if (pciAddress) return { kind: "PCI", at: checkPciAddress("pciAddress", pciAddress) };
  if (!USB_PORT.test(usbPort ?? "")) throw invalidArgument("usbPort", "A USB port is a bus and the ports on the way: 1-2.3.");
  return { kind: "USB", at: usbPort ?? "" };
}

/** Throws INVALID_ARGUMENT. */
export function checkPciAddress(field: string, address: string): string {
  const lower = address.toLowerCase();
  if (!PCI_ADDRESS.test(lower)) throw invalidArgument(field, "A PCI address has domain, bus, device and function: 0000:01:00.0.");
  return lower;
}

/** 0: whatever is plugged in there. Throws INVALID_ARGUMENT. */
export function checkUsbIds({ vendorId, productId }: RawUsbIds): { vendorId: number; productId: number } {
  return {
    vendorId: checkInteger("vendorId", vendorId ?? 0, 0, MOST_ID),
    productId: checkInteger("productId", productId ?? 0, 0, MOST_ID),
  };
}
