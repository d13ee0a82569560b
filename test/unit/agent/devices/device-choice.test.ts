import { describe, expect, it } from "vitest";
import { choosePci, chooseUsb } from "../../../../agent/devices/device-choice.ts";
import { checkDevice } from "../../../../agent/devices/host-device.ts";
import { PciDevice, PciInventory, UsbDevice, UsbInventory } from "../../../../schema/generated/proto/hypervisor/v1/inventory.ts";

const POSSIBLE = { possible: true, reason: "", message: "" };
const GROUP = ["0000:00:01.0", "0000:01:00.0", "0000:01:00.1"];
const [BRIDGE, GPU, AUDIO] = GROUP as [string, string, string];

function pci(address: string, more: Parameters<typeof PciDevice.fromPartial>[0] = {}): PciDevice {
  const classId = address === BRIDGE ? 0x060400 : 0x030000;
  return PciDevice.fromPartial({ address, classId, iommuGroup: 1, iommuGroupMembers: GROUP, passthrough: POSSIBLE, ...more });
}

const inventory = (...devices: PciDevice[]) => PciInventory.fromPartial({ devices });
const usedBy = (instanceId: string) => ({ instanceId, guestName: "guest" });
const refusalOf = (call: () => unknown) => {
  try {
    call();
  } catch (error) {
    return error;
  }
  throw new Error("It was not refused.");
};

describe("a PCI device that an instance is to have", () => {
  it("comes with the rest of its group, but for bridges", () => {
    const { device, companions } = choosePci(inventory(pci(BRIDGE), pci(GPU), pci(AUDIO)), GPU, "inst-1");
    expect([device, ...companions].map(({ address }) => address)).toEqual([GPU, AUDIO]);
  });

  it("may be the instance's already, with its group; another's is refused by name, also where that has but a part of the group", () => {
    const own = inventory(pci(BRIDGE), pci(GPU, { user: usedBy("inst-1") }), pci(AUDIO, { user: usedBy("inst-1") }));
    expect(choosePci(own, GPU, "inst-1").device.address).toBe(GPU);
    expect(refusalOf(() => choosePci(own, GPU, "inst-2"))).toMatchObject({ reason: "InUse", details: { usedBy: "inst-1" } });
    const shared = inventory(pci(GPU), pci(AUDIO, { user: usedBy("") }));
    expect(refusalOf(() => choosePci(shared, GPU, "inst-1"))).toMatchObject({ reason: "InUse", details: { usedBy: "guest" } });
  });

  it("is refused with the reason why it stays with the host", () => {
    const passthrough = { possible: false, reason: "SharedGroup", message: "It shares group 1 with sda's controller." };
    const refusal = refusalOf(() => choosePci(inventory(pci(GPU, { passthrough })), GPU, "inst-1"));
    expect(refusal).toMatchObject({
      code: "FAILED_PRECONDITION",
      reason: "SharedGroup",
      message: expect.stringContaining("sda's controller"),
    });
    expect(refusalOf(() => choosePci(inventory(pci(GPU, { passthrough: undefined })), GPU, "inst-1"))).toMatchObject({
      reason: "NotKnown",
    });
  });

  it("that is not there is told apart from a host that does not tell", () => {
    const without = (reason: string) => PciInventory.fromPartial({ unavailable: [{ field: "devices", reason, message: "so" }] });
    expect(refusalOf(() => choosePci(inventory(), GPU, "inst-1"))).toMatchObject({ code: "NOT_FOUND" });
    expect(refusalOf(() => choosePci(without("NOT_PRESENT"), GPU, "inst-1"))).toMatchObject({ code: "NOT_FOUND" });
    expect(refusalOf(() => choosePci(without("NO_SHELL"), GPU, "inst-1"))).toMatchObject({ reason: "NoShell" });
    expect(refusalOf(() => choosePci(without("TIMEOUT"), GPU, "inst-1"))).toMatchObject({ code: "UNAVAILABLE" });
  });
});

describe("a USB device that an instance is to have", () => {
  const stick = UsbDevice.fromPartial({ port: "1-2", bus: 1, device: 4, vendorId: 0x46f4, productId: 1, passthrough: POSSIBLE });
  const usb = (...devices: UsbDevice[]) => UsbInventory.fromPartial({ devices });
  const place = { kind: "usb", port: "1-2", vendorId: 0, productId: 0 } as const;

  it("is what is plugged in at the port, if it is what is expected", () => {
    expect(chooseUsb(usb(stick), place, "inst-1")).toEqual(stick);
    expect(chooseUsb(usb(stick), { ...place, vendorId: 0x46f4, productId: 1 }, "inst-1")).toEqual(stick);
    expect(refusalOf(() => chooseUsb(usb(stick), { ...place, vendorId: 0x0627 }, "inst-1"))).toMatchObject({ code: "NOT_FOUND" });
    expect(refusalOf(() => chooseUsb(usb(), place, "inst-1"))).toMatchObject({ code: "NOT_FOUND" });
  });

  it("is refused where it is another's, or holds a disk of the host", () => {
    const used = { ...stick, user: usedBy("inst-2") };
    expect(refusalOf(() => chooseUsb(usb(used), place, "inst-1"))).toMatchObject({ reason: "InUse" });
    const root = { ...stick, passthrough: { possible: false, reason: "RootDisk", message: "sda holds /." } };
    expect(refusalOf(() => chooseUsb(usb(root), place, "inst-1"))).toMatchObject({ reason: "RootDisk" });
  });
});

describe("the name of a device", () => {
  it("is an address or a port, and nothing else", () => {
    expect(checkDevice({ pciAddress: "0000:0A:1f.7", usb: undefined })).toEqual({ kind: "pci", address: "0000:0a:1f.7" });
    const usb = { port: "1-2.3", vendorId: 0, productId: 0xffff };
    expect(checkDevice({ pciAddress: "", usb })).toEqual({ kind: "usb", ...usb });
    const refused = [
      undefined,
      { pciAddress: "", usb: undefined },
      { pciAddress: "0000:01:00.0", usb },
      { pciAddress: "01:00.0", usb: undefined },
      { pciAddress: "0000:01:00.0/../x", usb: undefined },
      { pciAddress: "0000:01:20.0", usb: undefined },
      { pciAddress: "", usb: { ...usb, port: "usb1" } },
      { pciAddress: "", usb: { ...usb, port: "1-2:1.0" } },
      { pciAddress: "", usb: { ...usb, vendorId: 65_536 } },
      { pciAddress: "", usb: { ...usb, productId: -1 } },
    ];
    for (const name of refused) expect(refusalOf(() => checkDevice(name))).toMatchObject({ code: "INVALID_ARGUMENT" });
  });
});
