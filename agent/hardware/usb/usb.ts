import { type UsbController, UsbDevice, type UsbInventory } from "../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import type { HostChannel, HostNeeds } from "../../host/host-channel.ts";
import { type DeviceUsers, usbAtPort } from "../device-users.ts";
import { type DeviceIds, USB_IDS } from "../ids/device-ids.ts";
import { readInterfaceLinks } from "../own-use/own-network.ts";
import { OWN_USE_NEEDS, readOwnUses } from "../own-use/own-use.ts";
import { mapBounded } from "../read-optional.ts";
import { linkedName, pciAddressIn } from "../sysfs.ts";
import { Unavailable } from "../unavailable.ts";
import { judgeUsbPassthrough } from "./passthrough.ts";
import { readUsbFiles, readUsbInterface, USB_DEVICES, USB_FILES_NEEDS, type UsbFiles, type UsbInterfaceFiles } from "./usb-files.ts";
import { usbNames } from "./usb-names.ts";

const MOST_ENTRIES = 4096;
const AT_ONCE = 16;

export const USB_NEEDS: HostNeeds = {
  paths: [
    ...new Set([...USB_FILES_NEEDS.paths, "/sys/bus/pci/devices/*/driver", "/sys/bus/platform/devices/*/driver", ...OWN_USE_NEEDS.paths]),
  ],
  commands: [],
};

/**
 * The host's USB controllers by the number of their first bus, and what is plugged in, by port; root hubs are the controllers' buses. A
 * host without USB has none, and `unavailable` says so. Never throws for what the host does not tell.
 */
export async function readUsb(host: HostChannel, users: DeviceUsers, ids: DeviceIds = USB_IDS): Promise<UsbInventory> {
  const unavailable = new Unavailable();
  const tree = await unavailable.attempt("devices", () => readTree(host, unavailable));
  if (tree === undefined) {
    const message = "The host's USB devices cannot be listed.";
    return { controllers: [], devices: [], unavailable: [...unavailable.fields, { field: "controllers", reason: "NOT_PRESENT", message }] };
  }
  const interfaces = (await unavailable.attempt("devices[*].passthrough", () => readInterfaceLinks(host))) ?? [];
  const own = await readOwnUses(host, interfaces, users.pools);
  const names = await unavailable.attempt("devices[*].className", () => usbNames(ids, tree.devices));
  const toDevice = (files: UsbFiles): UsbDevice => {
    const { name: port, bus, device, vendorId, productId, classId, serial, speedMbps, version } = files;
    const parts = tree.interfaces.get(port) ?? [];
    const found = names?.(files);
    return UsbDevice.fromPartial({
      ...{ port, bus, device, vendorId, productId, classId, serial, speedMbps, version },
      vendorName: files.manufacturer ?? found?.vendorName,
      productName: files.product ?? found?.productName,
      className: found?.className,
      drivers: [...new Set(parts.flatMap(({ driver }) => driver ?? []))],
      passthrough: judgeUsbPassthrough({ port, classIds: [classId, ...parts.map((part) => part.classId)] }, own),
      user:
        users.usb.get(usbAtPort({ port, vendorId, productId })) ??
        users.usb.get(`${bus}/${device}`) ??
        users.usb.get(`${hex(vendorId)}:${hex(productId)}`),
    });
  };
  return {
    controllers: await readControllers(host, tree.rootHubs),
    devices: tree.devices.map(toDevice),
    unavailable: unavailable.fields,
  };
}

interface UsbTree {
  rootHubs: UsbFiles[];
  /** Their class is that of the first interface where the device leaves it to them. */
  devices: UsbFiles[];
  /** By the device's name. */
  interfaces: Map<string, UsbInterfaceFiles[]>;
}

/** Throws HostReadError on a host without USB. */
async function readTree(host: HostChannel, unavailable: Unavailable): Promise<UsbTree> {
  const all = await host.list(USB_DEVICES);
  if (all.length > MOST_ENTRIES) {
    unavailable.add(
      "devices",
      "UNREADABLE",
      `The host has ${all.length} USB devices and interfaces; those after the first ${MOST_ENTRIES} are left out.`,
    );
  }
  const names = all.slice(0, MOST_ENTRIES);
  const interfaces = new Map<string, UsbInterfaceFiles[]>();
  const parts = await mapBounded(
    names.filter((name) => name.includes(":")),
    AT_ONCE,
    (name) => unavailable.attempt("devices", () => readUsbInterface(host, name)),
  );
  for (const part of parts) if (part) interfaces.set(part.device, [...(interfaces.get(part.device) ?? []), part]);
  const read = await mapBounded(
    names.filter((name) => !name.includes(":")),
    AT_ONCE,
    (name) => unavailable.attempt("devices", () => readUsbFiles(host, name)),
  );
  const found = read.filter((device) => device !== undefined && device !== null);
  return {
    rootHubs: found.filter(isRootHub),
    devices: found
      .filter((device) => !isRootHub(device))
      .map((device) => ({ ...device, classId: device.classId || (interfaces.get(device.name)?.[0]?.classId ?? 0) })),
    interfaces,
  };
}

function isRootHub({ name }: UsbFiles): boolean {
  return name.startsWith("usb");
}

/** The root hubs by what they are on: an xHCI has one for each speed. */
async function readControllers(host: HostChannel, rootHubs: readonly UsbFiles[]): Promise<UsbController[]> {
  const controllers = new Map<string, UsbController>();
  for (const { path, bus, version, speedMbps, ports } of rootHubs) {
    const place = path.slice(0, path.lastIndexOf("/"));
    const pciAddress = pciAddressIn(place);
    const controller = controllers.get(place) ?? { pciAddress, driver: await driverOf(host, place, pciAddress), buses: [] };
    controller.buses.push({ number: bus, version, speedMbps, ports });
    controllers.set(place, controller);
  }
  return [...controllers.values()];
}

/** "../../../devices/platform/soc/fe9c0000.usb/xhci-hcd.0.auto": what is not on PCI is on the platform's bus. */
function driverOf(host: HostChannel, place: string, pciAddress: string | undefined): Promise<string | undefined> {
  const device =
    pciAddress === undefined
      ? `/sys/bus/platform/devices/${place.slice(place.lastIndexOf("/") + 1)}`
      : `/sys/bus/pci/devices/${pciAddress}`;
  return linkedName(host, `${device}/driver`);
}

function hex(id: number): string {
  return id.toString(16).padStart(4, "0");
}
