import { z } from "zod";
import { ownElement, xmlSafeJson } from "../domain-mark.ts";
import { buildXml, text, type XmlElement } from "../xml.ts";

const boundDevice = z.object({
  address: z.string(),
  /** The host's driver before; null: it had none. */
  driver: z.string().nullable(),
});

const pciNote = boundDevice.extend({
  kind: z.literal("pci"),
  model: z.string(),
  /** The rest of its IOMMU group, which left the host with it. */
  companions: z.array(boundDevice),
  /** Of a virtual function: what its physical one has to be told after a boot of the host. */
  sriov: z.object({ physicalFunction: z.string(), count: z.number() }).nullable(),
});

const usbNote = z.object({
  kind: z.literal("usb"),
  port: z.string(),
  vendorId: z.number(),
  productId: z.number(),
  model: z.string(),
});

const notes = z.array(z.discriminatedUnion("kind", [pciNote, usbNote]));

/** A device of the host that the instance of a domain has: written before anything is done for it, and removed when all of it is undone. */
export type DeviceNote = PciNote | UsbNote;
export type PciNote = z.infer<typeof pciNote>;
export type UsbNote = z.infer<typeof usbNote>;
export type BoundDevice = z.infer<typeof boundDevice>;

/** Of the element in a domain's metadata. */
export const DEVICES_NAMESPACE = "https://fleetgraph.dev/devices/1";
export const DEVICES_PREFIX = "fgdevices";

/** As `domainSetMetadata` takes it; null removes it. */
export function notesXml(all: readonly DeviceNote[]): string | null {
  return all.length === 0 ? null : buildXml({ devices: { "#text": xmlSafeJson(all) } });
}

/** `metadata`: the element of a domain. None where somebody changed them by hand. */
export function readNotes(metadata: XmlElement | null): DeviceNote[] {
  const element = ownElement(metadata, DEVICES_NAMESPACE, "devices");
  if (element === null) return [];
  try {
    return notes.parse(JSON.parse(text(element)));
  } catch {
    return [];
  }
}

/** Its place in the device's alias, which takes letters, digits and dashes only. */
export function aliasOf(device: { kind: "pci"; address: string } | { kind: "usb"; port: string }): string {
  return device.kind === "pci" ? `ua-pci-${device.address.replace(/[:.]/g, "-")}` : `${USB_ALIAS}${device.port.replaceAll(".", "_")}`;
}

export const USB_ALIAS = "ua-usb-";

export function isSameDevice(
  a: { kind: "pci"; address: string } | { kind: "usb"; port: string },
  b: { kind: "pci"; address: string } | { kind: "usb"; port: string },
): boolean {
  return aliasOf(a) === aliasOf(b);
}

/** The whole IOMMU group of a PCI device, but for bridges, with the host's drivers. */
export function groupOf({ address, driver, companions }: PciNote): BoundDevice[] {
  return [{ address, driver }, ...companions];
}
