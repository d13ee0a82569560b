import type { DeviceIds } from "../ids/device-ids.ts";
import type { UsbFiles } from "./usb-files.ts";

/** Undefined for what usb.ids has no name for. */
export interface UsbNames {
  vendorName: string | undefined;
  productName: string | undefined;
  className: string | undefined;
}

type Ids = Pick<UsbFiles, "vendorId" | "productId" | "classId">;

/** The names of these devices as lsusb gives them. Throws HostReadError, NOT_INSTALLED without usb.ids. */
export async function usbNames(ids: DeviceIds, devices: readonly Ids[]): Promise<(device: Ids) => UsbNames> {
  const names = await ids.names(devices.flatMap((device) => Object.values(keysOf(device))));
  return (device) => {
    const keys = keysOf(device);
    return { vendorName: names.get(keys.vendor), productName: names.get(keys.product), className: names.get(keys.class) };
  };
}

function keysOf({ vendorId, productId, classId }: Ids) {
  const vendor = hex(vendorId, 4);
  return { vendor, product: `${vendor}:${hex(productId, 4)}`, class: `C ${hex(classId, 2)}` };
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, "0");
}
