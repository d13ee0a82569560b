import { mkdtemp, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DeviceIds } from "../../../../agent/hardware/ids/device-ids.ts";
import { pciNames } from "../../../../agent/hardware/pci/pci-names.ts";
import { HostReadError } from "../../../../agent/host/host-channel.ts";

const TEXT = `#
#	List of PCI ID's
# 10de:ffff is no line
10de  NVIDIA Corporation
	2330  GH100 [H100 SXM5 80GB]
		10de 16c1  H100 SXM5, 80 GB
	22a3  GH100 [H100 NVSwitch]
8086  Intel Corporation
	10d3  82574L Gigabit Network Connection
		8086 a01f  Gigabit CT Desktop Adapter

# List of known device classes
C 02  Network controller
	00  Ethernet controller
C 03  Display controller
	02  3D controller
C ff  Unassigned class
HID 21  HID
	10d3  a name of another list
		8086 a01f  too
AT 0100  USB Streaming
`;

describe("names by id", () => {
  let directory: string;
  let file: string;
  let ids: DeviceIds;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "fleetgraph-ids-"));
    file = join(directory, "pci.ids");
    await writeFile(file, TEXT);
    ids = new DeviceIds([join(directory, "missing", "pci.ids"), file]);
  });
  afterEach(() => rm(directory, { recursive: true }));

  it("are found at every level, and only under what they belong to", async () => {
    const names = await ids.names([
      "10de",
      "10de:2330",
      "10de:2330:10de:16c1",
      "8086:2330",
      "8086:10d3:8086:a01f",
      "C 02",
      "C 02:00",
      "C 03:00",
    ]);
    expect(Object.fromEntries(names)).toEqual({
      "10de": "NVIDIA Corporation",
      "10de:2330": "GH100 [H100 SXM5 80GB]",
      "10de:2330:10de:16c1": "H100 SXM5, 80 GB",
      "8086:10d3:8086:a01f": "Gigabit CT Desktop Adapter",
      "C 02": "Network controller",
      "C 02:00": "Ethernet controller",
    });
  });

  it("do not come from lists of another kind", async () => {
    expect((await ids.names(["C ff:10d3", "10d3", "C ff"])).size).toBe(1);
  });

  it("are read again when the file is another one", async () => {
    expect((await ids.names(["1234", "10de"])).has("1234")).toBe(false);
    await writeFile(file, `1234  A new maker\n${TEXT}`);
    await utimes(file, new Date(), new Date(Date.now() + 5000));
    expect((await ids.names(["1234"])).get("1234")).toBe("A new maker");
  });

  it("need a file, and say which", async () => {
    const error = await new DeviceIds([join(directory, "usb.ids")]).names(["10de"]).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(HostReadError);
    expect(error).toMatchObject({ reason: "NOT_INSTALLED", message: expect.stringContaining("usb.ids") });
  });

  it("of a PCI device are those of lspci: the subclass's or the class's, and the chip's own for a subsystem with its ids", async () => {
    const nic = { classId: 0x020000, vendorId: 0x8086, deviceId: 0x10d3, subsystemVendorId: 0x8086, subsystemDeviceId: 0xa01f };
    const gpu = { classId: 0x030200, vendorId: 0x10de, deviceId: 0x2330, subsystemVendorId: 0x10de, subsystemDeviceId: 0x2330 };
    const other = { classId: 0x028000, vendorId: 0x10de, deviceId: 0x1111, subsystemVendorId: undefined, subsystemDeviceId: undefined };
    const names = await pciNames(ids, [nic, gpu, other]);
    expect(names(nic)).toEqual({
      className: "Ethernet controller",
      vendorName: "Intel Corporation",
      deviceName: "82574L Gigabit Network Connection",
      subsystemName: "Gigabit CT Desktop Adapter",
    });
    expect(names(gpu)).toMatchObject({ className: "3D controller", subsystemName: "GH100 [H100 SXM5 80GB]" });
    expect(names(other)).toEqual({
      className: "Network controller",
      vendorName: "NVIDIA Corporation",
      deviceName: undefined,
      subsystemName: undefined,
    });
  });
});
