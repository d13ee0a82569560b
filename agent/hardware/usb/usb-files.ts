import type { HostChannel, HostNeeds } from "../../host/host-channel.ts";
import { malformed } from "../kernel-text.ts";
import { ifPresent } from "../read-optional.ts";

export const USB_DEVICES = "/sys/bus/usb/devices";

const FILES = ["uevent", "manufacturer", "product", "serial", "speed", "version", "maxchild"];

export const USB_FILES_NEEDS: HostNeeds = {
  paths: [USB_DEVICES, `${USB_DEVICES}/*`, ...FILES.map((file) => `${USB_DEVICES}/*/${file}`)],
  commands: [],
};

/** What sysfs has of a USB device; undefined for what it has not. */
export interface UsbFiles {
  /** "1-2.3", or "usb1" of a root hub. */
  name: string;
  /** Where its link points to: through its controller and hubs. */
  path: string;
  bus: number;
  device: number;
  vendorId: number;
  productId: number;
  classId: number;
  manufacturer: string | undefined;
  product: string | undefined;
  serial: string | undefined;
  /** Mb/s. */
  speedMbps: number | undefined;
  version: string | undefined;
  /** Of a hub. */
  ports: number | undefined;
}

export interface UsbInterfaceFiles {
  /** The device's name. */
  device: string;
  classId: number;
  driver: string | undefined;
}

/** Null for a device that is gone by now. Throws HostReadError. */
export async function readUsbFiles(host: HostChannel, name: string): Promise<UsbFiles | null> {
  const directory = `${USB_DEVICES}/${name}`;
  const text = async (file: string) => (await ifPresent(host.read(`${directory}/${file}`)))?.trim() || undefined;
  const [event, path, manufacturer, product, serial, speed, version, ports] = await Promise.all([
    text("uevent"),
    ifPresent(host.readLink(directory)),
    text("manufacturer"),
    text("product"),
    text("serial"),
    text("speed"),
    text("version"),
    text("maxchild"),
  ]);
  if (event === undefined) return null;
  const fields = fieldsOf(event);
  // Hexadecimal without zeros in front: vendor, product, release.
  const [vendorId, productId] = numbers(fields.get("PRODUCT"), 16);
  const [classId] = numbers(fields.get("TYPE"), 10);
  const [bus] = numbers(fields.get("BUSNUM"), 10);
  const [device] = numbers(fields.get("DEVNUM"), 10);
  if (vendorId === undefined || productId === undefined || classId === undefined || bus === undefined || device === undefined) {
    throw malformed(`${directory}/uevent`, event);
  }
  return {
    ...{ name, path: path ?? "", bus, device, vendorId, productId, classId, manufacturer, product, serial, version },
    speedMbps: positive(speed),
    ports: positive(ports),
  };
}

/** Null for one that is gone by now. `name`: "1-2.3:1.0". Throws HostReadError. */
export async function readUsbInterface(host: HostChannel, name: string): Promise<UsbInterfaceFiles | null> {
  const event = await ifPresent(host.read(`${USB_DEVICES}/${name}/uevent`));
  if (event === undefined) return null;
  const fields = fieldsOf(event);
  const [classId = 0] = numbers(fields.get("INTERFACE"), 10);
  return { device: name.slice(0, name.indexOf(":")), classId, driver: fields.get("DRIVER") };
}

function fieldsOf(event: string): Map<string, string> {
  const fields = new Map<string, string>();
  for (const line of event.split("\n")) {
    const at = line.indexOf("=");
    if (at > 0) fields.set(line.slice(0, at), line.slice(at + 1));
  }
  return fields;
}

/** "46d/c52b/1211" as its numbers; none where one of them is not. */
function numbers(text: string | undefined, radix: 10 | 16): number[] {
  const values = (text ?? "").split("/").map((part) => Number.parseInt(part, radix));
  return values.some(Number.isNaN) ? [] : values;
}

/** Undefined for "unknown" too. */
function positive(text: string | undefined): number | undefined {
  const value = Number(text);
  return value > 0 ? value : undefined;
}
