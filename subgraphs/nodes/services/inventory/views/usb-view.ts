import type { UsbDevice } from "../../../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import type { ContentOf, Stored } from "../inventory-parts.ts";
import { knownList } from "../unavailable.ts";
import { deviceUserView } from "./device-user-view.ts";

export type UsbDeviceView = ReturnType<typeof usbDeviceView>;

/** By bus and port; null where they could not be read. */
export function usbDeviceViews(nodeId: string, content: ContentOf<"USB">, passthroughPossible?: boolean | null): UsbDeviceView[] | null {
  const devices = knownList(content, "devices", content.devices)?.map((device) => usbDeviceView(nodeId, device));
  if (passthroughPossible === null || passthroughPossible === undefined) return devices ?? null;
  return devices?.filter(({ passthrough }) => passthrough?.possible === passthroughPossible) ?? null;
}

export function usbDeviceView(nodeId: string, device: Stored<UsbDevice>) {
  return { nodeId, ...device, user: deviceUserView(device.user) };
}
