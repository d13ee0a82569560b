import { describe, expect, it } from "vitest";
import { partsConcernedBy } from "../../../../agent/hardware/watch/concerned-parts.ts";
import { type Uevent, UeventLines } from "../../../../agent/hardware/watch/uevents.ts";
import { InventoryPart } from "../../../../schema/generated/proto/hypervisor/v1/inventory.ts";

const { HARDWARE, PCI, USB, NETWORK, DISKS, ACCELERATORS } = InventoryPart;

/** As udevadm 252 printed it, with what surrounds it. */
const TOLD = `monitor will print the received events for:
KERNEL - the kernel uevent

KERNEL[1063.667933] add      /devices/virtual/net/vb (net)
ACTION=add
DEVPATH=/devices/virtual/net/vb
SUBSYSTEM=net
INTERFACE=vb
IFINDEX=2
SEQNUM=819

KERNEL[1063.667963] add      /devices/virtual/net/vb/queues/rx-0 (queues)
ACTION=add
DEVPATH=/devices/virtual/net/vb/queues/rx-0
SUBSYSTEM=queues
SEQNUM=820

KERNEL[98.1] add      /devices/pci0000:00/0000:00:04.0/usb1/1-2 (usb)
ACTION=add
DEVPATH=/devices/pci0000:00/0000:00:04.0/usb1/1-2
SUBSYSTEM=usb
DEVTYPE=usb_device
PRODUCT=627/1/0

`;

function read(text: string): Uevent[] {
  const lines = new UeventLines();
  return text.split("\n").flatMap((line) => lines.take(line) ?? []);
}

describe("the kernel's events, as udevadm prints them", () => {
  it("are told one by one, headings left out", () => {
    expect(read(TOLD)).toEqual([
      { action: "add", devicePath: "/devices/virtual/net/vb", subsystem: "net", deviceType: "" },
      { action: "add", devicePath: "/devices/virtual/net/vb/queues/rx-0", subsystem: "queues", deviceType: "" },
      { action: "add", devicePath: "/devices/pci0000:00/0000:00:04.0/usb1/1-2", subsystem: "usb", deviceType: "usb_device" },
    ]);
  });

  it("are understood again after one that was cut off, and never pile up", () => {
    const cutOff = "KERNEL[1] add /devices/x (net)\nACTION=add\nDEVPATH=/devices/x\n";
    expect(read(cutOff + TOLD).map(({ devicePath }) => devicePath)).toHaveLength(4);
    const endless = new UeventLines();
    for (let index = 0; index < 10_000; index += 1) expect(endless.take(`NAME${index}=value`)).toBeNull();
    expect(endless.take("")).toBeNull();
  });
});

describe("the parts of the inventory that an event concerns", () => {
  const of = (subsystem: string, devicePath = "/devices/pci0000:00/0000:00:04.0") =>
    partsConcernedBy({ action: "change", devicePath, subsystem, deviceType: "" });

  it("are those that show the device", () => {
    expect(of("pci")).toEqual([PCI, ACCELERATORS]);
    expect(of("usb")).toEqual([USB]);
    expect(of("block", "/devices/pci0000:00/0000:00:05.0/nvme/nvme0/nvme0n1")).toEqual([DISKS]);
    expect(of("nvme")).toEqual([DISKS, PCI]);
    expect(of("net", "/devices/pci0000:00/0000:00:03.0/net/eth0")).toEqual([NETWORK, PCI]);
    expect(of("cpu", "/devices/system/cpu/cpu3")).toEqual([HARDWARE]);
  });

  it("are the network alone for interfaces without a device", () => {
    expect(of("net", "/devices/virtual/net/vnet0")).toEqual([NETWORK]);
  });

  it("are none for what the inventory does not show", () => {
    expect(of("queues")).toEqual([]);
    expect(of("bdi")).toEqual([]);
    for (const name of ["loop3", "ram0", "zram0"]) expect(of("block", `/devices/virtual/block/${name}`)).toEqual([]);
    expect(of("block", "/devices/virtual/block/dm-0")).toEqual([DISKS]);
  });
});
