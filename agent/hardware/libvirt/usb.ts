import { type UsbController, UsbDevice, type UsbInventory } from "../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import type { LibvirtOnlyHost } from "../../host/libvirt-only-host.ts";
import { type DeviceUsers, usbAtPort } from "../device-users.ts";
import { type DeviceIds, USB_IDS } from "../ids/device-ids.ts";
import { pciAddressIn } from "../sysfs.ts";
import { Unavailable } from "../unavailable.ts";
import { judgeUsbPassthrough } from "../usb/passthrough.ts";
import { usbNames } from "../usb/usb-names.ts";
import { attemptOverLibvirt, idAndName, NOT_TOLD, type NodeDevice, readNodeDevices, textIn, wholeNumber } from "./node-devices.ts";
import { pciFunctions, UNKNOWN_USES } from "./pci.ts";

const NEVER_TOLD = ["devices[*].serial", "devices[*].speedMbps", "devices[*].version", "controllers[*].buses"];

/** Controllers and devices as libvirt knows them. Throws HostReadError where libvirt is gone. */
export async function readUsbOverLibvirt(host: LibvirtOnlyHost, users: DeviceUsers, ids: DeviceIds = USB_IDS): Promise<UsbInventory> {
  const unavailable = new Unavailable();
  const all = (await attemptOverLibvirt(unavailable, "devices", () => readNodeDevices(host, "USB_DEVICE"))) ?? [];
  const interfaces = (await attemptOverLibvirt(unavailable, "devices[*].drivers", () => readNodeDevices(host, "USB_INTERFACE"))) ?? [];
  if (all.length === 0) {
    if (unavailable.fields.length === 0) unavailable.add("devices", "NOT_PRESENT", "The host has no USB.");
    return { controllers: [], devices: [], unavailable: unavailable.fields };
  }
  const pci = (await attemptOverLibvirt(unavailable, "controllers[*].driver", () => pciFunctions(host))) ?? new Map();
  for (const field of NEVER_TOLD) unavailable.add(field, "NO_SHELL", NOT_TOLD);
  const plugged = all.filter((device) => !isRootHub(device)).flatMap((device) => usbIds(device, interfaces) ?? []);
  const names = await unavailable.attempt("devices[*].className", () => usbNames(ids, plugged));
  const devices = plugged.map((one) => {
    const { parts, told, ...files } = one;
    const found = names?.(files);
    const { bus, device, port, vendorId, productId } = files;
    return UsbDevice.fromPartial({
      ...files,
      vendorName: told.vendor ?? found?.vendorName,
      productName: told.product ?? found?.productName,
      className: found?.className,
      drivers: [...new Set(parts.flatMap(({ driver }) => driver ?? []))],
      passthrough: judgeUsbPassthrough({ port, classIds: parts.map(classOf) }, UNKNOWN_USES),
      user:
        users.usb.get(usbAtPort({ port, vendorId, productId })) ??
        users.usb.get(`${bus}/${device}`) ??
        users.usb.get([vendorId, productId].map((id) => id.toString(16).padStart(4, "0")).join(":")),
    });
  });
  devices.sort((a, b) => a.port.localeCompare(b.port, "en", { numeric: true }));
  return { controllers: controllersOf(all.filter(isRootHub), pci), devices, unavailable: unavailable.fields };
}

/** Null for what has no place. */
function usbIds(node: NodeDevice, interfaces: readonly NodeDevice[]) {
  const [bus, device] = [wholeNumber(textIn(node, "bus")), wholeNumber(textIn(node, "device"))];
  const [vendor, product] = [idAndName(node, "vendor"), idAndName(node, "product")];
  if (bus === undefined || device === undefined || vendor.id === undefined || product.id === undefined) return null;
  const parts = interfaces.filter(({ parent }) => parent === node.name);
  const [first] = parts;
  return {
    ...{ bus, device, port: placeOf(node), vendorId: vendor.id, productId: product.id, parts },
    classId: first === undefined ? 0 : classOf(first),
    told: { vendor: vendor.name, product: product.name },
  };
}

function classOf(part: NodeDevice): number {
  return wholeNumber(textIn(part, "class")) ?? 0;
}

/** "1-2.3", or "usb1" of a root hub. */
function placeOf({ path }: NodeDevice): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

function isRootHub(device: NodeDevice): boolean {
  return /^usb\d+$/.test(placeOf(device));
}

/** The root hubs by what they are on, in the order of their first bus. */
function controllersOf(rootHubs: readonly NodeDevice[], pci: ReadonlyMap<string, { driver: string | undefined }>): UsbController[] {
  const controllers = new Map<string, UsbController>();
  const numbered = rootHubs.flatMap((hub) => {
    const number = wholeNumber(textIn(hub, "bus"));
    return number === undefined ? [] : [{ hub, number }];
  });
  for (const { hub, number } of numbered.sort((a, b) => a.number - b.number)) {
    const place = hub.path.slice(0, hub.path.lastIndexOf("/"));
    const pciAddress = pciAddressIn(place);
    const controller = controllers.get(place) ?? { pciAddress, driver: pci.get(pciAddress ?? "")?.driver, buses: [] };
    controller.buses.push({ number, version: undefined, speedMbps: undefined, ports: undefined });
    controllers.set(place, controller);
  }
  return [...controllers.values()];
}
