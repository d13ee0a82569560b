import { attributeOf, buildOrdered, inside, named, parseOrdered, setAttribute } from "../migration/ordered-xml.ts";
import { type PciPlaces, readPciPlaces } from "../volumes/pci-places.ts";
import { attribute, element, elements, parseXml, type XmlTree } from "../xml.ts";
import { aliasOf, type PciNote } from "./device-notes.ts";

/** A USB device by what it is and where it is now: libvirt takes one that is both, or none. */
export interface UsbSource {
  port: string;
  vendorId: number;
  productId: number;
  bus: number;
  device: number;
}

/** What a domain has of the host by aliases of ours. */
export interface PresentHostDevices {
  /** With the place of a USB device: "2/4". */
  byAlias: ReadonlyMap<string, { usbPlace: string | null }>;
  pci: PciPlaces;
  /** Whether it has a USB controller. */
  hasUsb: boolean;
}

const USB_MODEL = "qemu-xhci";

/**
 * Libvirt binds a device that is alone in its group, and gives it back. Of others the whole group is bound and given back by the agent: while a part
 * of it is a guest's, nothing of it may have a driver of the host.
 */
export function pciElement(note: PciNote, address: XmlTree | null): XmlTree {
  return {
    "@mode": "subsystem",
    "@type": "pci",
    "@managed": note.companions.length === 0 ? "yes" : "no",
    source: { address: pciSource(note.address) },
    alias: { "@name": aliasOf(note) },
    address,
  };
}

export function usbElement({ port, vendorId, productId, bus, device }: UsbSource): XmlTree {
  return {
    "@mode": "subsystem",
    "@type": "usb",
    "@managed": "yes",
    source: { vendor: { "@id": hex(vendorId) }, product: { "@id": hex(productId) }, address: { "@bus": bus, "@device": device } },
    alias: { "@name": aliasOf({ kind: "usb", port }) },
  };
}

export function readPresent(domainXml: string): PresentHostDevices {
  const domain = parseXml(domainXml, "domain");
  const devices = element(domain, "devices");
  const byAlias = elements(devices, "hostdev").flatMap((hostdev) => {
    const alias = attribute(element(hostdev, "alias"), "name");
    const place = element(hostdev, "source", "address");
    const usbPlace = attribute(hostdev, "type") === "usb" ? `${attribute(place, "bus")}/${attribute(place, "device")}` : null;
    return alias.startsWith("ua-") ? [[alias, { usbPlace }] as const] : [];
  });
  return {
    byAlias: new Map(byAlias),
    pci: readPciPlaces(domain),
    hasUsb: elements(devices, "controller").some((one) => attribute(one, "type") === "usb" && attribute(one, "model") !== "none"),
  };
}

/** The definition with a USB controller in place of none. */
export function withUsbController(domainXml: string): string {
  const document = parseOrdered(domainXml);
  const devices = inside(document, "domain", "devices") ?? [];
  const none = named(devices, "controller").find((one) => attributeOf(one, "type") === "usb" && attributeOf(one, "model") === "none");
  if (none !== undefined) setAttribute(none, "model", USB_MODEL);
  return buildOrdered(document);
}

/** "pci_0000_01_00_0", as libvirt names a PCI device of the host. */
export function nodeDeviceName(address: string): string {
  return `pci_${address.replace(/[:.]/g, "_")}`;
}

function pciSource(address: string): XmlTree {
  const [domain = "", bus = "", slot = "", fn = ""] = address.split(/[:.]/);
  return { "@domain": `0x${domain}`, "@bus": `0x${bus}`, "@slot": `0x${slot}`, "@function": `0x${fn}` };
}

function hex(id: number): string {
  return `0x${id.toString(16).padStart(4, "0")}`;
}
