import type { DeviceIds } from "../ids/device-ids.ts";
import type { PciFiles } from "./pci-files.ts";

/** Undefined for what pci.ids has no name for. */
export interface PciNames {
  className: string | undefined;
  vendorName: string | undefined;
  deviceName: string | undefined;
  subsystemName: string | undefined;
}

type Ids = Pick<PciFiles, "classId" | "vendorId" | "deviceId" | "subsystemVendorId" | "subsystemDeviceId">;

/** The names of these devices as lspci gives them. Throws HostReadError, NOT_INSTALLED without pci.ids. */
export async function pciNames(ids: DeviceIds, devices: readonly Ids[]): Promise<(device: Ids) => PciNames> {
  const names = await ids.names(devices.flatMap((device) => Object.values(keysOf(device))));
  return (device) => {
    const keys = keysOf(device);
    const deviceName = names.get(keys.device);
    return {
      className: names.get(keys.class) ?? names.get(keys.baseClass),
      vendorName: names.get(keys.vendor),
      deviceName,
      // A maker that sells its own chip often repeats the chip's ids there.
      subsystemName: names.get(keys.subsystem) ?? (keys.subsystem === `${keys.device}:${keys.device}` ? deviceName : undefined),
    };
  };
}

function keysOf({ classId, vendorId, deviceId, subsystemVendorId = 0, subsystemDeviceId = 0 }: Ids) {
  const vendor = hex(vendorId, 4);
  const device = `${vendor}:${hex(deviceId, 4)}`;
  const baseClass = `C ${hex(classId >>> 16, 2)}`;
  return {
    baseClass,
    class: `${baseClass}:${hex((classId >>> 8) & 0xff, 2)}`,
    vendor,
    device,
    subsystem: `${device}:${hex(subsystemVendorId, 4)}:${hex(subsystemDeviceId, 4)}`,
  };
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, "0");
}
