import { readFileSync } from "node:fs";
import pino from "pino";
import { attribute, element, parseXml } from "../../agent/drivers/libvirt/xml.ts";
import { LibvirtOnlyHost, type NodeDeviceKind } from "../../agent/host/libvirt-only-host.ts";
import { LibvirtClient } from "../../agent/libvirt/client.ts";

/** By the type of a device's capability. */
const KINDS: Record<string, NodeDeviceKind> = {
  ...{ system: "SYSTEM", pci: "PCI", usb_device: "USB_DEVICE", usb: "USB_INTERFACE", net: "NET", storage: "STORAGE" },
};

/** What the rich guest's libvirtd says of its host (`virsh nodedev-dumpxml`, `virsh capabilities`); `change` alters a device's XML. */
export class CapturedLibvirt extends LibvirtOnlyHost {
  readonly #devices: ReadonlyMap<NodeDeviceKind, string[]>;

  constructor(change: (xml: string) => string = (xml) => xml) {
    const client = LibvirtClient.open({ uri: "qemu+unix:///system?socket=/nowhere", log: pino({ level: "silent" }) });
    void client.close();
    super(client);
    const all = fixture("devices").match(/^<device>.*?^<\/device>/gms) ?? [];
    const devices = new Map<NodeDeviceKind, string[]>();
    for (const xml of all.map(change)) {
      const kind = KINDS[attribute(element(parseXml(xml, "device"), "capability"), "type")];
      if (kind !== undefined) devices.set(kind, [...(devices.get(kind) ?? []), xml]);
    }
    this.#devices = devices;
  }

  override async devices(kind: NodeDeviceKind): Promise<string[]> {
    return this.#devices.get(kind) ?? [];
  }

  override async capabilities(): Promise<string> {
    return fixture("capabilities");
  }
}

function fixture(name: string): string {
  return readFileSync(new URL(`../fixtures/libvirt/rich-guest-${name}.xml`, import.meta.url), "utf8");
}
