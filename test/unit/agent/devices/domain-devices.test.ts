import { describe, expect, it } from "vitest";
import { usersOf } from "../../../../agent/drivers/libvirt/device-users.ts";
import {
  aliasOf,
  type DeviceNote,
  groupOf,
  notesXml,
  type PciNote,
  readNotes,
} from "../../../../agent/drivers/libvirt/devices/device-notes.ts";
import { pciElement, readPresent, usbElement, withUsbController } from "../../../../agent/drivers/libvirt/devices/hostdev-xml.ts";
import { readDomainXml } from "../../../../agent/drivers/libvirt/domain-facts.ts";
import { buildXml, element, parseXml } from "../../../../agent/drivers/libvirt/xml.ts";

const NIC: PciNote = { kind: "pci", address: "0000:01:00.0", driver: "e1000e", model: 'Intel <"82574L">', companions: [], sriov: null };
const STICK: DeviceNote = { kind: "usb", port: "2-1.4", vendorId: 0x46f4, productId: 1, model: "QEMU\u0085 HARDDRIVE" };

/** As libvirt writes it, which puts a prefix and the namespace to what it was given. */
function domain({ notes = [] as DeviceNote[], devices = "", usb = "none" } = {}): string {
  const given = notesXml(notes) ?? "";
  const uri = "https://fleetgraph.dev/devices/1";
  const metadata = given
    .replace(/^<devices>/, `<fgdevices:devices xmlns:fgdevices="${uri}">`)
    .replace("</devices>", "</fgdevices:devices>");
  return `<domain type='kvm'><name>guest</name><uuid>u</uuid><metadata>${metadata}</metadata>
    <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os>
    <devices><controller type='usb' index='0' model='${usb}'/>${devices}</devices></domain>`;
}

describe("what a domain has of the host's devices", () => {
  it("is noted in its metadata, whatever their names are", () => {
    const notes = [NIC, STICK];
    expect(readDomainXml(domain({ notes })).deviceNotes).toEqual(notes);
    expect(notesXml([])).toBeNull();
    expect(readDomainXml(domain()).deviceNotes).toEqual([]);
    const changed = parseXml(domain({ notes }).replace("e1000e", 'e1000e", "address": 7, "x": "'), "domain");
    expect(readNotes(element(changed, "metadata"))).toEqual([]);
  });

  it("counts as used with its whole group, and USB devices by where they are plugged in", () => {
    const notes: DeviceNote[] = [{ ...NIC, companions: [{ address: "0000:01:00.1", driver: null }] }, STICK];
    const devices = buildXml({ hostdev: usbElement({ port: "2-1.4", vendorId: 0x46f4, productId: 1, bus: 2, device: 9 }) });
    const { pci, usb } = usersOf([readDomainXml(domain({ notes, devices }))]);
    expect([...pci.keys()]).toEqual(["0000:01:00.0", "0000:01:00.1"]);
    // Not by the number that it had when the guest ran last.
    expect([...usb.keys()]).toEqual(["46f4:0001@2-1.4"]);
  });

  it("has aliases that libvirt takes and gives back", () => {
    expect([aliasOf(NIC), aliasOf(STICK)]).toEqual(["ua-pci-0000-01-00-0", "ua-usb-2-1_4"]);
    const place = { "@type": "pci", "@domain": 0, "@bus": 3, "@slot": 0, "@function": 0 };
    const source = { port: "2-1.4", vendorId: 0x46f4, productId: 1, bus: 2, device: 9 };
    const devices = buildXml({ hostdev: [pciElement(NIC, place), usbElement(source)] });
    const { byAlias, hasUsb } = readPresent(domain({ devices }));
    expect([...byAlias]).toEqual([
      ["ua-pci-0000-01-00-0", { usbPlace: null }],
      ["ua-usb-2-1_4", { usbPlace: "2/9" }],
    ]);
    expect(hasUsb).toBe(false);
    expect(devices).toContain(`<address domain="0x0000" bus="0x01" slot="0x00" function="0x0"/>`);
  });

  it("is libvirt's to bind where it is alone in its group, and the agent's where it is not", () => {
    const shared = { ...NIC, companions: [{ address: "0000:01:00.1", driver: "snd_hda_intel" }] };
    expect([pciElement(NIC, null)["@managed"], pciElement(shared, null)["@managed"]]).toEqual(["yes", "no"]);
    expect(groupOf(shared)).toEqual([{ address: "0000:01:00.0", driver: "e1000e" }, ...shared.companions]);
  });

  it("needs a USB controller, which takes the place of none", () => {
    const changed = withUsbController(domain({ devices: "<disk type='file'><serial>a &amp; b</serial></disk>" }));
    expect(readPresent(changed).hasUsb).toBe(true);
    expect(changed).toContain("<serial>a &amp; b</serial>");
    expect(withUsbController(domain({ usb: "ich9-ehci1" }))).toContain("ich9-ehci1");
  });
});
