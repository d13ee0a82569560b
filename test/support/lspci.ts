import { expect } from "vitest";
import type { PciDevice } from "../../schema/generated/proto/hypervisor/v1/inventory.ts";

/** The arguments for what `expectAsLspci` reads. */
export const LSPCI = ["-D", "-nn", "-k", "-vmm"];

/** Each device's fields by their names: "Slot", "Class", "SVendor", "Driver", "IOMMUGroup", … */
function parseLspci(text: string): Array<Map<string, string>> {
  const blocks = text.trim().split(/\n\s*\n/);
  return blocks.map((block) => new Map(block.split("\n").map((line) => line.split(":\t", 2) as [string, string])));
}

/** "Ethernet controller [0200]"; lspci writes "Device [0d57]" where it has no name. */
function named(text: string | undefined): { name: string | undefined; id: number | undefined } {
  const [, name, id] = /^(.*) \[([0-9a-f]{4})\]$/.exec(text ?? "") ?? [];
  return { name: name === "Device" ? undefined : name, id: id === undefined ? undefined : Number.parseInt(id, 16) };
}

/** Fails where the devices are not those that lspci shows. `subsystems`: also by name, which lspci takes from elsewhere where udev is there. */
export function expectAsLspci(devices: readonly PciDevice[], lspci: string, { subsystems }: { subsystems: boolean }): void {
  const expected = parseLspci(lspci).map((fields) => {
    const [type, vendor, device] = ["Class", "Vendor", "Device"].map((name) => named(fields.get(name)));
    const [subVendor, subDevice] = ["SVendor", "SDevice"].map((name) => named(fields.get(name)));
    const number = (name: string, radix = 10) => (fields.has(name) ? Number.parseInt(fields.get(name) ?? "", radix) : undefined);
    return {
      address: fields.get("Slot"),
      class: (type?.id ?? 0) * 256 + (number("ProgIf", 16) ?? 0),
      names: [type?.name, vendor?.name, device?.name],
      vendorId: vendor?.id,
      deviceId: device?.id,
      subsystem: [subVendor?.id, subDevice?.id],
      subsystemName: subsystems ? subDevice?.name : undefined,
      revision: number("Rev", 16) ?? 0,
      driver: fields.get("Driver"),
      numaNode: number("NUMANode"),
      iommuGroup: number("IOMMUGroup"),
    };
  });
  const found = devices.map((device) => ({
    address: device.address,
    class: device.classId,
    names: [device.className, device.vendorName, device.deviceName],
    vendorId: device.vendorId,
    deviceId: device.deviceId,
    subsystem: [device.subsystemVendorId, device.subsystemDeviceId],
    subsystemName: subsystems ? device.subsystemName : undefined,
    revision: device.revision,
    driver: device.driver,
    numaNode: device.numaNode,
    iommuGroup: device.iommuGroup,
  }));
  expect(found).toEqual(expected);
}
