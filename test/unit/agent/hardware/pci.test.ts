import { describe, expect, it } from "vitest";
import { NO_USERS } from "../../../../agent/hardware/device-users.ts";
import { DeviceIds } from "../../../../agent/hardware/ids/device-ids.ts";
import { PCI_NEEDS, readPci, steadyPci } from "../../../../agent/hardware/pci/pci.ts";
import { blockDevice, type HostTree, networkInterface, pciDevice, pciPath, runningHost, treeHost } from "../../../support/host-tree.ts";

const NO_NAMES = new DeviceIds(["/nonexistent/pci.ids"]);
const PORT = "0000:00:1c.0";
const NIC = "0000:01:00.0";
const VF = "0000:01:10.0";
const USER = { instanceId: "inst-1", guestName: "guest" };

const SRIOV: HostTree = {
  ...runningHost([]),
  ...pciDevice(PORT, { class: "60400", ids: "8086:a110", driver: "pcieport", group: 4 }),
  ...pciDevice(NIC, { class: "20000", ids: "8086:1572", subsystem: "8086:0007", driver: "i40e", group: 7, behind: [PORT] }),
  ...pciDevice(VF, { class: "20000", ids: "8086:154c", driver: "vfio-pci", group: 8, behind: [PORT] }),
  [`/sys/bus/pci/devices/${NIC}/numa_node`]: "1\n",
  [`/sys/bus/pci/devices/${NIC}/current_link_speed`]: "8.0 GT/s PCIe\n",
  [`/sys/bus/pci/devices/${NIC}/max_link_speed`]: "16.0 GT/s PCIe\n",
  [`/sys/bus/pci/devices/${NIC}/current_link_width`]: "8\n",
  [`/sys/bus/pci/devices/${NIC}/max_link_width`]: "8\n",
  [`/sys/bus/pci/devices/${NIC}/sriov_totalvfs`]: "64\n",
  [`/sys/bus/pci/devices/${NIC}/sriov_numvfs`]: "1\n",
  [`/sys/bus/pci/devices/${NIC}/virtfn0`]: { link: `../${VF}` },
  [`/sys/bus/pci/devices/${VF}/physfn`]: { link: `../${NIC}` },
  ...networkInterface("ens1f0", pciPath(NIC, [PORT]), 2),
};

async function read(tree: HostTree, users = NO_USERS) {
  return readPci(treeHost(tree, PCI_NEEDS), users, NO_NAMES);
}

describe("PCI devices", () => {
  it("have their link, node, group, bridge and interfaces", async () => {
    const { devices } = await read(SRIOV);
    expect(devices.map(({ address }) => address)).toEqual([PORT, NIC, VF]);
    expect(devices[1]).toMatchObject({
      ...{ classId: 0x020000, vendorId: 0x8086, deviceId: 0x1572, subsystemVendorId: 0x8086, subsystemDeviceId: 7, revision: 2 },
      ...{ driver: "i40e", numaNode: 1, iommuGroup: 7, iommuGroupMembers: [NIC], parentAddress: PORT, interfaces: ["ens1f0"] },
      link: { speedGts: 8, maxSpeedGts: 16, width: 8, maxWidth: 8 },
    });
    expect(devices[0]).toMatchObject({ subsystemVendorId: undefined, numaNode: undefined, link: undefined, parentAddress: "" });
  });

  it("have their virtual functions, who has them, and what these are of; the physical one stays with the host meanwhile", async () => {
    const { devices } = await read(SRIOV, { ...NO_USERS, pci: new Map([[VF, USER]]) });
    expect(devices[1]?.sriov).toEqual({
      totalVfs: 64,
      enabledVfs: 1,
      functions: [{ index: 0, address: VF, driver: "vfio-pci", interfaces: [], user: USER }],
    });
    expect(devices[1]?.passthrough?.reason).toBe("VirtualFunctions");
    expect(devices[2]).toMatchObject({ physicalFunction: NIC, user: USER, passthrough: { possible: true } });
  });

  it("share a group with those that the kernel cannot keep apart", async () => {
    const { devices } = await read({
      ...runningHost(["8:1 / ext4 /dev/sda1"]),
      ...pciDevice("0000:00:1f.2", { class: "10601", ids: "8086:2922", driver: "ahci", group: 9 }),
      ...pciDevice("0000:00:1f.3", { class: "c0500", ids: "8086:2930", group: 9 }),
      ...blockDevice("sda1", `${pciPath("0000:00:1f.2")}/ata1`, "8:1"),
    });
    expect(devices.map(({ passthrough }) => passthrough?.reason)).toEqual(["RootDisk", "SharedGroup"]);
    expect(devices[1]?.iommuGroupMembers).toEqual(["0000:00:1f.2", "0000:00:1f.3"]);
    expect(devices[1]?.passthrough?.message).toContain("0000:00:1f.2: sda1 is on it, which holds /.");
  });

  it("are NVMe controllers with their namespaces, also where there are several ways to one", async () => {
    const directory = "/sys/class/nvme/nvme0";
    const { devices } = await read({
      ...runningHost([]),
      ...pciDevice("0000:02:00.0", { class: "10802", ids: "144d:a80a", driver: "nvme", group: 3 }),
      [directory]: { link: `../../devices/${pciPath("0000:02:00.0")}/nvme/nvme0` },
      [`${directory}/model`]: "Samsung SSD 980 PRO 1TB                 \n",
      [`${directory}/serial`]: "S5GXNX0R\n",
      [`${directory}/firmware_rev`]: "5B2QGXA7\n",
      ...blockDevice("nvme0c0n2", `${pciPath("0000:02:00.0")}/nvme/nvme0`, "259:1"),
      ...blockDevice("nvme0n2", "virtual/nvme-subsystem/nvme-subsys0", "259:2", {
        nsid: "2\n",
        size: "2048\n",
        "queue/logical_block_size": "4096\n",
      }),
      "/sys/class/block/nvme0c0n2": { link: `../../devices/${pciPath("0000:02:00.0")}/nvme/nvme0/nvme0c0n2` },
    });
    expect(devices[0]?.nvme).toEqual({
      model: "Samsung SSD 980 PRO 1TB",
      serial: "S5GXNX0R",
      firmware: "5B2QGXA7",
      namespaces: [{ id: 2, disk: "nvme0n2", sizeBytes: 1_048_576, blockBytes: 4096 }],
    });
  });

  it("are not kept apart by groups that VFIO makes up", async () => {
    const { devices, unavailable } = await read({
      ...runningHost([]),
      ...pciDevice(NIC, { class: "20000", ids: "8086:1572", group: 0 }),
      "/sys/kernel/iommu_groups/0/name": "vfio-noiommu\n",
    });
    expect(devices[0]).toMatchObject({ iommuGroup: undefined, passthrough: { possible: false, reason: "NoIommu" } });
    expect(unavailable.map(({ field }) => field)).toContain("devices[*].iommuGroup");
  });

  it("have no names without pci.ids, and it says so once", async () => {
    const { devices, unavailable } = await read(SRIOV);
    expect(devices[1]).toMatchObject({ vendorName: undefined, deviceName: undefined, className: undefined });
    expect(unavailable.filter(({ reason }) => reason === "NOT_INSTALLED").map(({ field }) => field)).toEqual(["devices[*].vendorName"]);
  });

  it("keep what is readable where one of them is not, and one that has gone is left out", async () => {
    const { devices, unavailable } = await read({
      ...SRIOV,
      [`/sys/bus/pci/devices/${VF}/uevent`]: "PCI_CLASS=nonsense\n",
      "/sys/bus/pci/devices/0000:05:00.0": { link: "../../../devices/pci0000:00/0000:05:00.0" },
      [`/sys/bus/pci/devices/${NIC}/current_link_width`]: "63\n",
    });
    expect(devices.map(({ address }) => address)).toEqual([PORT, NIC]);
    expect(devices[1]?.link).toMatchObject({ speedGts: 8, width: undefined });
    expect(unavailable).toContainEqual(expect.objectContaining({ field: "devices", reason: "MALFORMED" }));
    expect(unavailable).toContainEqual(expect.objectContaining({ field: "devices[1].link.width", reason: "NOT_SUPPORTED" }));
  });

  it("are none on a host without the bus", async () => {
    expect(await read(runningHost([]))).toMatchObject({ devices: [], unavailable: [{ field: "devices", reason: "NOT_PRESENT" }] });
  });

  it("are as steady as the host: a link that saves power is no change, one that lost lanes is", async () => {
    const speed = `/sys/bus/pci/devices/${NIC}/current_link_speed`;
    const width = `/sys/bus/pci/devices/${NIC}/current_link_width`;
    const before = steadyPci(await read(SRIOV));
    expect(steadyPci(await read({ ...SRIOV, [speed]: "2.5 GT/s PCIe\n" }))).toEqual(before);
    expect(steadyPci(await read({ ...SRIOV, [width]: "4\n" }))).not.toEqual(before);
  });

  it("are the same from the same host, byte for byte", async () => {
    expect(await read(SRIOV)).toEqual(await read(SRIOV));
  });
});
