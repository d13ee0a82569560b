import { describe, expect, test } from "vitest";
import { countAccelerators } from "../../../../agent/hardware/accelerators.ts";
import { NO_USERS } from "../../../../agent/hardware/device-users.ts";
import { readDisksOverLibvirt } from "../../../../agent/hardware/libvirt/disks.ts";
import { readNetworkOverLibvirt } from "../../../../agent/hardware/libvirt/network.ts";
import { readPciOverLibvirt } from "../../../../agent/hardware/libvirt/pci.ts";
import { readTopology } from "../../../../agent/hardware/libvirt/topology.ts";
import { readUsbOverLibvirt } from "../../../../agent/hardware/libvirt/usb.ts";
import { NetworkInterfaceKind, PciKind } from "../../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import { CapturedLibvirt } from "../../../support/captured-libvirt.ts";

const GUEST = { instanceId: "", guestName: "other" };

describe("a host over libvirt alone, by what the rich guest's libvirt says", () => {
  test("processors, NUMA cells with distances, huge pages", async () => {
    const { cells, iommu, kvm, vendor } = readTopology(await new CapturedLibvirt().capabilities());
    expect({ iommu, kvm, vendor }).toEqual({ iommu: true, kvm: false, vendor: "AMD" });
    expect(cells).toMatchObject([
      { id: 0, memoryBytes: 598388 * 1024, cpus: [{ id: 0, socket: 0, siblings: "0" }] },
      { id: 1, memoryBytes: 644496 * 1024, cpus: [{ id: 1, socket: 1, siblings: "1" }] },
    ]);
    expect(cells[1]?.distances).toEqual([
      { nodeId: 0, distance: 21 },
      { nodeId: 1, distance: 10 },
    ]);
    expect(cells[0]?.pages).toContainEqual({ sizeBytes: 2 ** 21, total: 8 });
  });

  test("PCI: the adapter with its group, link and interface; what the host uses is not known, and so not given away", async () => {
    const users = { ...NO_USERS, pci: new Map([["0000:02:00.1", GUEST]]) };
    const { devices, unavailable } = await readPciOverLibvirt(new CapturedLibvirt(), users);
    expect(devices).toHaveLength(17);
    const named = (address: string) => devices.find((device) => device.address === address);
    expect(named("0000:01:00.0")).toMatchObject({
      ...{ classId: 0x020000, kind: PciKind.NETWORK, vendorId: 0x8086, deviceId: 0x10d3, vendorName: "Intel Corporation" },
      ...{ driver: "e1000e", iommuGroup: 10, iommuGroupMembers: ["0000:01:00.0"], interfaces: ["enp1s0"], parentAddress: "0000:00:08.0" },
      link: { speedGts: 2.5, maxSpeedGts: 2.5, width: 1, maxWidth: 1 },
      passthrough: { possible: false, reason: "NotKnown" },
    });
    expect(named("0000:00:1f.0")?.iommuGroupMembers).toEqual(["0000:00:1f.0", "0000:00:1f.2", "0000:00:1f.3"]);
    expect(named("0000:00:02.0")?.passthrough).toEqual({ possible: true, reason: "", message: "" });
    expect(named("0000:02:00.0")).toMatchObject({
      kind: PciKind.NVME,
      sriov: { totalVfs: 2, enabledVfs: 2, functions: [{ address: "0000:02:00.1", user: GUEST }, { address: "0000:02:00.2" }] },
      nvme: { model: "QEMU NVMe Ctrl", serial: "FG-NVME-1", namespaces: [{ id: 1, disk: "nvme0n1", sizeBytes: 2 ** 26, blockBytes: 512 }] },
    });
    expect(named("0000:02:00.1")).toMatchObject({ physicalFunction: "0000:02:00.0", user: GUEST });
    expect(unavailable).toContainEqual(expect.objectContaining({ field: "devices[*].revision", reason: "NO_SHELL" }));
  });

  test("PCI: a NUMA node is told where the firmware tells it", async () => {
    const changed = new CapturedLibvirt((xml) => xml.replace(/<iommuGroup number='10'>/, "<numa node='1'/>$&"));
    const { devices } = await readPciOverLibvirt(changed, NO_USERS);
    expect(devices.filter(({ numaNode }) => numaNode !== undefined)).toMatchObject([{ address: "0000:01:00.0", numaNode: 1 }]);
  });

  test("a GPU counts, its virtual function does not", async () => {
    expect(await countAccelerators(new CapturedLibvirt())).toBe(0);
    const gpus = new CapturedLibvirt((xml) => xml.replace("<class>0x010802</class>", "<class>0x030200</class>"));
    expect(await countAccelerators(gpus)).toBe(1);
  });

  test("USB: one controller with two buses, the tablet and the stick", async () => {
    const { controllers, devices } = await readUsbOverLibvirt(new CapturedLibvirt(), {
      ...NO_USERS,
      usb: new Map([["0627:0001@1-1", GUEST]]),
    });
    expect(controllers).toEqual([
      {
        pciAddress: "0000:04:00.0",
        driver: "xhci_hcd",
        buses: [expect.objectContaining({ number: 1 }), expect.objectContaining({ number: 2 })],
      },
    ]);
    expect(devices).toMatchObject([
      { port: "1-1", bus: 1, device: 2, vendorId: 0x627, productName: "QEMU Tablet", classId: 3, drivers: ["usbhid"], user: GUEST },
      { port: "2-2", classId: 8, drivers: ["usb-storage"], passthrough: { possible: false, reason: "NotKnown" } },
    ]);
    expect(devices[0]?.passthrough).toEqual({ possible: true, reason: "", message: "" });
  });

  test("network: address, state and speed of each; libvirt's mark for no speed is none", async () => {
    const { interfaces } = await readNetworkOverLibvirt(new CapturedLibvirt(), NO_USERS);
    expect(interfaces).toMatchObject([
      {
        name: "enp0s4",
        kind: NetworkInterfaceKind.PHYSICAL,
        state: "UP",
        mac: "52:54:00:f1:ee:01",
        pciAddress: "0000:00:04.0",
        carrier: true,
      },
      { name: "enp1s0", state: "DOWN", driver: "e1000e", pciAddress: "0000:01:00.0" },
      { name: "lo", kind: NetworkInterfaceKind.LOOPBACK, state: "UNKNOWN" },
    ]);
    // virtio's speed is 4294967295, and its driver stands between.
    expect(interfaces[0]).toMatchObject({ speedMbps: undefined, driver: undefined });
    const fast = new CapturedLibvirt((xml) => xml.replace("<link state='down'/>", "<link speed='1000' state='up'/>"));
    expect((await readNetworkOverLibvirt(fast, NO_USERS)).interfaces[1]).toMatchObject({ speedMbps: 1000, state: "UP" });
  });

  test("disks: serial numbers without what udev puts around them, and the pools that are on them", async () => {
    const pools = new Map([
      ["/dev/sda1", "fast"],
      ["/dev/disk/by-id/usb-QEMU_QEMU_HARDDISK_FG-STICK-1-0:0-part2", "stick"],
      ["/srv/pool", "folder"],
    ]);
    const { disks, unavailable } = await readDisksOverLibvirt(new CapturedLibvirt(), { ...NO_USERS, pools });
    expect(disks).toMatchObject([
      { name: "nvme0n1", transport: "nvme", serial: "FG-NVME-1", model: "QEMU NVMe Ctrl", sizeBytes: 2 ** 26, pciAddress: "0000:02:00.0" },
      { name: "sda", transport: "sata", serial: "FG-SATA-1", model: "FLEETGRAPH SATA", pciAddress: "0000:00:1f.2", pools: ["fast"] },
      { name: "sdb", transport: "usb", serial: "FG-STICK-1", sizeBytes: 2 ** 25, pools: ["stick"] },
      { name: "vda", transport: "virtio", serial: "FG-ROOT-1", sizeBytes: 3 * 2 ** 30, logicalBlockBytes: 512, pools: [] },
    ]);
    // Nobody told which one holds the host's system.
    expect(disks.every(({ system }) => system)).toBe(true);
    expect(unavailable).toContainEqual(expect.objectContaining({ field: "disks[*].system", reason: "NO_SHELL" }));
    expect(unavailable).toContainEqual(expect.objectContaining({ field: "disks[3].model", reason: "NOT_SUPPORTED" }));
  });
});
