import { describe, expect, it } from "vitest";
import { parseMounts, parseSwaps } from "../../../../agent/hardware/own-use/mounts.ts";
import { readInterfaceLinks } from "../../../../agent/hardware/own-use/own-network.ts";
import { OWN_USE_NEEDS, type OwnUses, readOwnUses } from "../../../../agent/hardware/own-use/own-use.ts";
import { blockDevice, type HostTree, networkInterface, pciPath, runningHost, treeHost } from "../../../support/host-tree.ts";

const SATA = "0000:00:17.0";
const NVME = "0000:02:00.0";
const RAID = "0000:03:00.0";
const NIC = "0000:04:00.0";

async function usesOf(tree: HostTree, pools = new Map<string, string>()): Promise<OwnUses> {
  const host = treeHost(tree, OWN_USE_NEEDS);
  return readOwnUses(host, await readInterfaceLinks(host), pools);
}

/** The reasons by PCI address. */
function reasons({ pci }: OwnUses): Record<string, string> {
  return Object.fromEntries([...pci].map(([address, { reason }]) => [address, reason]));
}

describe("what the host uses itself", () => {
  it("is the disk that it was started from, and every bridge above it", async () => {
    const uses = await usesOf({
      ...runningHost(["8:2 / ext4 /dev/sda2", "8:17 /srv/data xfs /dev/sdb1"]),
      ...blockDevice("sda", `${pciPath(SATA)}/ata1/host0/target0:0:0/0:0:0:0`, "8:0"),
      ...blockDevice("sda2", `${pciPath(SATA)}/ata1/host0/target0:0:0/0:0:0:0`, "8:2"),
      ...blockDevice("sdb1", `${pciPath(RAID, ["0000:00:1c.4"])}/host1/target1:0:0/1:0:0:0`, "8:17"),
      ...blockDevice("nvme0n1", `${pciPath(NVME)}/nvme/nvme0`, "259:0"),
    });
    expect(reasons(uses)).toEqual({ [SATA]: "RootDisk", "0000:00:1c.4": "DiskInUse", [RAID]: "DiskInUse" });
    expect(uses.pci.get(SATA)?.message).toBe("sda2 is on it, which holds /.");
    expect(uses.pci.get(RAID)?.message).toBe("sdb1 is on it, which holds /srv/data.");
  });

  it("is found under LVM and encryption, whatever is between", async () => {
    const uses = await usesOf({
      ...runningHost(["253:1 / ext4 /dev/mapper/vg-root"]),
      ...blockDevice("dm-1", "virtual", "253:1", { "slaves/dm-0": "", "dm/name": "vg-root\n" }),
      ...blockDevice("dm-0", "virtual", "253:0", { "slaves/nvme0n1p3": "", "dm/name": "luks\n", "holders/dm-1": "" }),
      ...blockDevice("nvme0n1p3", `${pciPath(NVME)}/nvme/nvme0`, "259:3", { "holders/dm-0": "" }),
    });
    expect(reasons(uses)).toEqual({ [NVME]: "RootDisk" });
  });

  it("is the system's as soon as one of its mounts is", async () => {
    const uses = await usesOf({
      ...runningHost(["253:0 /srv ext4 /dev/dm-0", "253:0 /var ext4 /dev/dm-0"]),
      ...blockDevice("dm-0", "virtual", "253:0", { "slaves/sda1": "" }),
      ...blockDevice("sda1", `${pciPath(SATA)}/ata1`, "8:1", { "holders/dm-0": "" }),
    });
    expect(uses.pci.get(SATA)).toEqual({ reason: "RootDisk", message: "sda1 is on it, which holds /var." });
  });

  it("is found behind the several ways to an NVMe namespace", async () => {
    const uses = await usesOf({
      ...runningHost(["259:3 / ext4 /dev/nvme0n1p2"]),
      ...blockDevice("nvme0n1p2", "virtual/nvme-subsystem/nvme-subsys0", "259:3"),
      ...blockDevice("nvme0c0n1", `${pciPath(NVME)}/nvme/nvme0`, "259:1"),
      ...blockDevice("nvme0c1n1", `${pciPath(RAID)}/nvme/nvme1`, "259:2"),
      ...blockDevice("nvme1n1", `${pciPath(SATA)}/nvme/nvme2`, "259:4"),
    });
    expect(reasons(uses)).toEqual({ [NVME]: "RootDisk", [RAID]: "RootDisk" });
  });

  it("is every device of a btrfs, of which the mount names one", async () => {
    const uses = await usesOf({
      ...runningHost(["0:33 / btrfs /dev/sda1"]),
      ...blockDevice("sda1", `${pciPath(SATA)}/ata1`, "8:1"),
      ...blockDevice("sdb1", `${pciPath(RAID)}/ata2`, "8:17"),
      "/sys/fs/btrfs/0a5f/devices/sda1": "",
      "/sys/fs/btrfs/0a5f/devices/sdb1": "",
    });
    expect(reasons(uses)).toEqual({ [SATA]: "RootDisk", [RAID]: "RootDisk" });
  });

  it("is swap space, a part of a RAID, and what a storage pool stands on, also by another name", async () => {
    const uses = await usesOf(
      {
        ...runningHost(["0:30 / nfs4 server:/root"]),
        "/proc/swaps": "Filename Type Size Used Priority\n/dev/sda3 partition 1 0 -2\n",
        ...blockDevice("sda3", `${pciPath(SATA)}/ata1`, "8:3"),
        ...blockDevice("sdb", `${pciPath(RAID)}/ata2`, "8:16", { "holders/md0": "" }),
        ...blockDevice("nvme0n1", `${pciPath(NVME)}/nvme/nvme0`, "259:0"),
        "/dev/disk/by-id/nvme-eui.01": { link: "../../nvme0n1" },
      },
      new Map([["/dev/disk/by-id/nvme-eui.01", "fast"]]),
    );
    expect(reasons(uses)).toEqual({ [SATA]: "RootDisk", [RAID]: "DiskInUse", [NVME]: "DiskInUse" });
    expect(uses.pci.get(NVME)?.message).toBe("nvme0n1 is on it, which holds the storage pool fast.");
  });

  it("is not known of any disk where ZFS is mounted", async () => {
    const uses = await usesOf({ ...runningHost(["0:28 / zfs rpool/ROOT"]), ...blockDevice("sda", `${pciPath(SATA)}/ata1`, "8:0") });
    expect(uses.disks).toEqual({ reason: "NotKnown", message: "The kernel does not tell which disks the ZFS pool of / is on." });
  });

  it("is not known, with the reason, where the mounts or the routes cannot be read", async () => {
    const uses = await usesOf({ "/proc/self/mountinfo": { problem: "NO_PERMISSION" }, "/proc/net/route": { problem: "NO_PERMISSION" } });
    expect(uses.disks).toMatchObject({ reason: "NotKnown", message: expect.stringContaining("/proc/self/mountinfo") });
    expect(uses.network).toMatchObject({ reason: "NotKnown", message: expect.stringContaining("/proc/net/route") });
  });

  it.each<[string, HostTree, string]>([
    ["has a route", runningHost([], ["eth0"]), "eth0 is on it, which has a route of the host."],
    [
      "has an IPv6 address",
      { ...runningHost([]), "/proc/net/if_inet6": "20010db8000000000000000000000001 02 40 00 80     eth0\n" },
      "eth0 is on it, which has an address of the host.",
    ],
    [
      "is a member of a bridge",
      { ...runningHost([]), "/sys/class/net/eth0/master": { link: "../../../virtual/net/br0" } },
      "eth0 is on it, which is a member of br0.",
    ],
    [
      "carries a guest's macvtap",
      { ...runningHost([]), ...networkInterface("macvtap0", "virtual", 9), "/sys/class/net/macvtap0/iflink": "2\n" },
      "eth0 is on it, which carries macvtap0.",
    ],
  ])("is a network adapter that %s", async (_name, tree, message) => {
    const uses = await usesOf({ ...networkInterface("eth0", pciPath(NIC), 2), ...tree });
    expect(uses.pci.get(NIC)).toEqual({ reason: "HostNetwork", message });
  });

  it("is not a network adapter that has only the address that every one has", async () => {
    const uses = await usesOf({
      ...runningHost([], ["eth1"]),
      "/proc/net/if_inet6": "fe80000000000000505400fffe123456 02 40 20 80     eth0\n",
      ...networkInterface("eth0", pciPath(NIC), 2),
      ...networkInterface("lo", "virtual", 1),
    });
    expect([...uses.pci]).toEqual([]);
  });

  it("is a USB stick with its hub and its controller", async () => {
    const uses = await usesOf({
      ...runningHost(["8:1 /boot vfat /dev/sda1"]),
      ...blockDevice("sda1", `${pciPath("0000:00:14.0")}/usb2/2-1/2-1.4/2-1.4:1.0/host6/target6:0:0/6:0:0:0`, "8:1"),
    });
    expect([...uses.usb.keys()]).toEqual(["2-1", "2-1.4"]);
    expect(reasons(uses)).toEqual({ "0000:00:14.0": "RootDisk" });
  });
});

describe("the kernel's lists", () => {
  it("of mounts have any number of optional fields, and names with spaces", () => {
    const text =
      "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n" +
      "42 27 8:1 /a /mnt/my\\040disk rw shared:1 master:2 - ext4 /dev/disk\\040one rw\n" +
      "nonsense\n";
    expect(parseMounts(text)).toEqual([
      { number: "254:0", root: "/", target: "/", type: "ext4", source: "/dev/vda" },
      { number: "8:1", root: "/a", target: "/mnt/my disk", type: "ext4", source: "/dev/disk one" },
    ]);
  });

  it("of swap have a head", () => {
    expect(parseSwaps("Filename\tType\n/dev/dm-1  partition 1 0 -2\n/swap\\040file file 1 0 -3\n")).toEqual(["/dev/dm-1", "/swap file"]);
    expect(parseSwaps("Filename\tType\n")).toEqual([]);
  });
});
