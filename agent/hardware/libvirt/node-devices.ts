import { attribute, element, elements, parseXml, text, type XmlElement } from "../../drivers/libvirt/xml.ts";
import { HostReadError, type UnreadableReason } from "../../host/host-channel.ts";
import type { LibvirtOnlyHost, NodeDeviceKind } from "../../host/libvirt-only-host.ts";
import type { Unavailable } from "../unavailable.ts";

/** A device as libvirt describes it. */
export interface NodeDevice {
  /** libvirt's own: "pci_0000_00_03_0", "usb_1_1". */
  name: string;
  /** The name of the device above it: "computer" at the top. */
  parent: string;
  /** In sysfs: "/sys/devices/pci0000:00/0000:00:03.0"; empty where libvirt does not tell. */
  path: string;
  driver: string | undefined;
  /** Its links in /dev. */
  links: string[];
  capability: XmlElement;
}

/** What no answer of libvirt tells. */
export const NOT_TOLD = "The host is reached over libvirt alone, which does not tell it.";

const PASSING: ReadonlySet<UnreadableReason> = new Set(["HOST_UNREACHABLE", "TIMEOUT"]);

/** The host's devices of one kind, ordered by name. Throws HostReadError. */
export async function readNodeDevices(host: LibvirtOnlyHost, kind: NodeDeviceKind): Promise<NodeDevice[]> {
  return (await host.devices(kind)).map(parseNodeDevice);
}

/** What `read` gives, or undefined with the reason noted. Where libvirt is gone, that is thrown: what was read before still holds. */
export async function attemptOverLibvirt<T>(unavailable: Unavailable, field: string, read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof HostReadError) || PASSING.has(error.reason)) throw error;
    return unavailable.add(field, error.reason, error.message);
  }
}

export function parseNodeDevice(xml: string): NodeDevice {
  const device = parseXml(xml, "device");
  return {
    name: text(element(device, "name")),
    parent: text(element(device, "parent")),
    path: text(element(device, "path")),
    driver: text(element(device, "driver", "name")) || undefined,
    links: elements(device, "devnode").flatMap((node) => (attribute(node, "type") === "link" ? text(node) : [])),
    capability: element(device, "capability") ?? {},
  };
}

/** A capability of a capability: what a device can do beside what it is. */
export function subCapability({ capability }: NodeDevice, type: string): XmlElement | null {
  return elements(capability, "capability").find((one) => attribute(one, "type") === type) ?? null;
}

/** The text of an element of the capability; undefined where it is not there or empty. */
export function textIn({ capability }: NodeDevice, name: string): string | undefined {
  return text(element(capability, name)).trim() || undefined;
}

/** A whole number, decimal or with 0x; undefined for anything else. */
export function wholeNumber(value: string | undefined): number | undefined {
  return value !== undefined && /^(?:0x[0-9a-f]+|\d+)$/i.test(value) ? Number(value) : undefined;
}

/** <vendor id="0x8086">Intel Corporation</vendor> */
export function idAndName({ capability }: NodeDevice, name: string): { id: number | undefined; name: string | undefined } {
  const found = element(capability, name);
  return { id: wholeNumber(attribute(found, "id")), name: text(found).trim() || undefined };
}
