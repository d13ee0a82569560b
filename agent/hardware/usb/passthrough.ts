import type { Passthrough } from "../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import type { OwnUses } from "../own-use/own-use.ts";

const HUB = 0x09;
const MASS_STORAGE = 0x08;
/** Communications and wireless controllers. Those of a class of their maker's own are found by their interface alone. */
const NETWORK = new Set([0x02, 0xe0]);

/** What decides whether a USB device can be given to an instance. */
export interface UsbCandidate {
  /** "1-2.3". */
  port: string;
  /** Of the device and of its interfaces. */
  classIds: readonly number[];
}

/** Whether the device can be given away, or why not: Hub, RootDisk, DiskInUse, HostNetwork, NotKnown. It needs no IOMMU. That a guest has it already is not judged here. */
export function judgeUsbPassthrough({ port, classIds }: UsbCandidate, own: OwnUses): Passthrough {
  if (classIds.includes(HUB)) return { possible: false, reason: "Hub", message: "It is a hub." };
  const unknown = (classIds.includes(MASS_STORAGE) && own.disks) || (classIds.some((id) => NETWORK.has(id)) && own.network);
  const use = own.usb.get(port) ?? (unknown || null);
  return use ? { possible: false, ...use } : { possible: true, reason: "", message: "" };
}
