import { USB_ALIAS } from "./devices/device-notes.ts";
import { attribute, element, elements, type XmlElement } from "./xml.ts";

/** What a domain has of its host, as its XML tells. */
export interface DomainHostDevices {
  /** Addresses: "0000:01:00.0". */
  pci: readonly string[];
  /** Without those that the agent gave it, which its notes name by where they are plugged in. */
  usb: readonly DomainUsbDevice[];
  /** Interfaces of the host that are the guest's: taps and the like. Known while it runs. */
  interfaces: readonly string[];
}

/** Libvirt names a USB device by what it is, by where it is now, or by both. */
export interface DomainUsbDevice {
  /** "046d:c52b"; null where only its place is named. */
  id: string | null;
  /** Null where only the kind of device is named. */
  place: { bus: number; device: number } | null;
}

/** `devices`: the element of a domain. */
export function readHostDevices(devices: XmlElement | null): DomainHostDevices {
  const hostdevs = elements(devices, "hostdev").filter((hostdev) => attribute(hostdev, "mode") === "subsystem");
  const isNoted = (hostdev: XmlElement) => attribute(element(hostdev, "alias"), "name").startsWith(USB_ALIAS);
  const ofType = (type: string) =>
    hostdevs.filter((one) => attribute(one, "type") === type && !isNoted(one)).map((one) => element(one, "source"));
  const nics = elements(devices, "interface");
  const pciSources = [
    ...ofType("pci"),
    ...nics.filter((nic) => attribute(nic, "type") === "hostdev").map((nic) => element(nic, "source")),
    ...elements(devices, "disk")
      .filter((disk) => attribute(disk, "type") === "nvme")
      .map((disk) => element(disk, "source")),
  ];
  return {
    pci: pciSources.flatMap((source) => pciAddress(element(source, "address")) ?? []),
    usb: ofType("usb").flatMap((source) => usbDevice(source) ?? []),
    interfaces: nics.map((nic) => attribute(element(nic, "target"), "dev")).filter((name) => name !== ""),
  };
}

/** Null for what is no address. */
function pciAddress(address: XmlElement | null): string | null {
  const part = (name: string, digits: number) => hex(attribute(address, name) || "0", digits);
  if (attribute(address, "slot") === "") return null;
  const [domain, bus, slot, fn] = [part("domain", 4), part("bus", 2), part("slot", 2), part("function", 1)];
  return [domain, bus, slot, fn].includes(null) ? null : `${domain}:${bus}:${slot}.${fn}`;
}

function usbDevice(source: XmlElement | null): DomainUsbDevice | null {
  const part = (name: string) => hex(attribute(element(source, name), "id"), 4);
  const [vendor, product] = [part("vendor"), part("product")];
  const address = element(source, "address");
  const [bus, device] = [Number(attribute(address, "bus")), Number(attribute(address, "device"))];
  const id = vendor === null || product === null ? null : `${vendor}:${product}`;
  const place = bus > 0 && device > 0 ? { bus, device } : null;
  return id === null && place === null ? null : { id, place };
}

/** Libvirt writes "0x1f", and takes "31". */
function hex(text: string, digits: number): string | null {
  if (!/^(0x[0-9a-f]+|\d+)$/i.test(text)) return null;
  return Number(text).toString(16).padStart(digits, "0");
}
