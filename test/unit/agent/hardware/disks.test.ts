import { describe, expect, it } from "vitest";
import { NO_USERS } from "../../../../agent/hardware/device-users.ts";
import { readDisks } from "../../../../agent/hardware/disks/disks.ts";
import { LSBLK } from "../../../../agent/hardware/disks/lsblk.ts";
import { commandKey } from "../../../../agent/host/capture/format.ts";
import type { HostChannel } from "../../../../agent/host/host-channel.ts";
import type { Disk } from "../../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import { hostOf, openRichGuestCapture } from "../../../support/captured-devices.ts";

const MIB = 1024 * 1024;

describe("the disks of a captured host", () => {
  it("tells each by how it is attached, what it is called and how fast its link is", async () => {
    const disks = await disksOf(await openRichGuestCapture());
    expect([...disks.keys()]).toEqual(["nvme0n1", "sda", "sdb", "vda", "vdb"]);
    expect(disks.get("nvme0n1")).toMatchObject({
      ...{ transport: "nvme", interfaceSpeed: "2.5 GT/s x1", sizeBytes: 64 * MIB, logicalBlockBytes: 512, rotational: false },
      ...{ model: "QEMU NVMe Ctrl", serial: "FG-NVME-1", firmware: "7.2.22", pciAddress: "0000:02:00.0", system: false },
    });
    expect(disks.get("sda")).toMatchObject({
      ...{ transport: "sata", interfaceSpeed: "1.5 Gb/s", model: "FLEETGRAPH SATA", serial: "FG-SATA-1", firmware: "2.5+" },
      ...{ rotational: true, removable: false, readOnly: false, pciAddress: "0000:00:1f.2" },
    });
    expect(disks.get("sdb")).toMatchObject({ transport: "usb", interfaceSpeed: "5.0 Gb/s", pciAddress: "0000:04:00.0" });
    expect(disks.get("vda")).toMatchObject({ transport: "virtio", serial: "FG-ROOT-1", model: undefined });
  });

  it("finds partitions, file systems, swap and where they are mounted, and what the system is on", async () => {
    const disks = await disksOf(await openRichGuestCapture());
    expect(disks.get("vda")).toMatchObject({
      system: true,
      partitions: [],
      fileSystem: { type: "ext4", mountPoints: ["/"], totalBytes: 3_094_126_592 },
    });
    const { system, fileSystem, partitions } = disks.get("vdb")!;
    expect({ system, fileSystem }).toEqual({ system: true, fileSystem: undefined });
    expect(partitions).toMatchObject([
      { name: "vdb1", sizeBytes: 32 * MIB, type: "Linux", fileSystem: { type: "ext4", label: "data", mountPoints: ["/srv/data"] } },
      { name: "vdb2", sizeBytes: 10 * MIB, fileSystem: { type: "swap", label: "swapped", mountPoints: ["[SWAP]"] } },
    ]);
  });

  it("leaves out bind mounts of what is mounted elsewhere", async () => {
    const host = await openRichGuestCapture(({ entries }) => {
      const binds = ["900 1 254:0 /srv/x /run/bound rw - ext4 /dev/vda rw", "901 1 8:16 /y /mnt rw - vfat /dev/sdb rw"];
      entries.set("/proc/self/mountinfo", { content: [entries.get("/proc/self/mountinfo")?.content?.trim(), ...binds].join("\n") });
    });
    const disks = await disksOf(host);
    expect(disks.get("vda")?.fileSystem?.mountPoints).toEqual(["/"]);
    expect(disks.get("sdb")?.fileSystem).toMatchObject({ type: "vfat", mountPoints: ["/mnt"] });
  });

  it("names the pools on each disk, however they name it", async () => {
    const pools = new Map([
      ["/srv/data/pool", "folder"],
      ["/srv/database", "beside it"],
      ["/dev/disk/by-id/ata-FLEETGRAPH_SATA_FG-SATA-1", "link"],
      ["/dev/vdb1", "partition"],
      ["/dev/nowhere", "gone"],
    ]);
    const disks = await disksOf(await openRichGuestCapture(), pools);
    expect([...disks.values()].map(({ name, pools: names }) => [name, names])).toEqual([
      ["nvme0n1", []],
      ["sda", ["link"]],
      ["sdb", []],
      ["vda", ["beside it"]],
      ["vdb", ["folder", "partition"]],
    ]);
  });

  it("gives on a host without lsblk what sysfs and /proc have", async () => {
    const host = await openRichGuestCapture(({ commands }) => {
      commands.delete(commandKey(LSBLK));
    });
    const { unavailable } = await readDisks(host, NO_USERS);
    expect(unavailable).toContainEqual(expect.objectContaining({ field: "disks[*].fileSystem", reason: "UNREADABLE" }));
    const disks = await disksOf(host);
    expect(disks.get("nvme0n1")).toMatchObject({ model: "QEMU NVMe Ctrl", serial: "FG-NVME-1", firmware: "7.2.22" });
    expect(disks.get("vda")).toMatchObject({
      serial: "FG-ROOT-1",
      system: true,
      fileSystem: { type: "ext4", mountPoints: ["/"], totalBytes: undefined },
    });
    expect(disks.get("vdb")?.partitions).toMatchObject([{ fileSystem: { type: "ext4" } }, { fileSystem: { type: "swap" } }]);
  });

  it("gives each value that it has not a reason", async () => {
    const { disks, unavailable } = await readDisks(await openRichGuestCapture(), NO_USERS);
    const fields = new Set(unavailable.map(({ field }) => field));
    for (const [index, disk] of disks.entries()) {
      for (const key of ["model", "serial", "firmware", "wwn", "interfaceSpeed"] as const) {
        expect(fields.has(`disks[${index}].${key}`)).toBe(disk[key] === undefined);
      }
    }
  });

  it("is empty with the reason where there is no sysfs", async () => {
    expect(await readDisks(hostOf({}), NO_USERS)).toMatchObject({ disks: [], unavailable: [{ field: "disks", reason: "NOT_PRESENT" }] });
  });
});

// Written from the kernel's documentation of sysfs: the test machines have no device mapper, RAID or several ways to an NVMe disk.
describe("disks under other devices (from documentation)", () => {
  it("follows LVM on encryption on RAID down to the disks", async () => {
    const host = hostOf(
      mounted(
        `${numberOf("dm-1")} / /srv/data rw - ext4 /dev/mapper/vg--one-data rw`,
        { name: "sda", path: "pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sda", partitions: ["sda1"] },
        { name: "sdb", path: "pci0000:00/0000:00:1f.2/ata2/host1/target1:0:0/1:0:0:0/block/sdb", partitions: [] },
        { name: "md0", path: "virtual/block/md0", slaves: ["sda1", "sdb"] },
        { name: "dm-0", path: "virtual/block/dm-0", slaves: ["md0"], mapper: "crypt" },
        { name: "dm-1", path: "virtual/block/dm-1", slaves: ["dm-0"], mapper: "vg--one-data" },
        { name: "sdc", path: "pci0000:00/0000:00:1f.2/ata3/host2/target2:0:0/2:0:0:0/block/sdc", partitions: [] },
        { name: "loop0", path: "virtual/block/loop0" },
        { name: "zram0", path: "virtual/block/zram0" },
        { name: "sr0", path: "pci0000:00/0000:00:1f.2/ata4/host3/target3:0:0/3:0:0:0/block/sr0" },
      ),
      [lsblk([{ kname: "sda", children: [{ kname: "sda1", fstype: "linux_raid_member" }] }])],
    );
    const disks = await disksOf(host, new Map([["/dev/vg-one", "lvm"]]));
    expect([...disks.keys()]).toEqual(["sda", "sdb", "sdc"]);
    expect(disks.get("sda")).toMatchObject({ system: false, pools: ["lvm"] });
    expect(disks.get("sda")?.partitions[0]?.fileSystem).toMatchObject({
      type: "linux_raid_member",
      mountPoints: ["/srv/data"],
      totalBytes: undefined,
    });
    expect(disks.get("sdb")?.fileSystem?.mountPoints).toEqual(["/srv/data"]);
    expect(disks.get("sdc")).toMatchObject({ pools: [], fileSystem: undefined });
  });

  it("looks for a disk with several ways at the controllers that they lead to, and lists it once", async () => {
    const host = hostOf({
      ...mounted(
        `${numberOf("nvme0n1")} / / rw - xfs /dev/nvme0n1 rw`,
        { name: "nvme0n1", path: "virtual/nvme-subsystem/nvme-subsys0/nvme0n1" },
        { name: "nvme0c0n1", path: "pci0000:00/0000:00:03.0/0000:05:00.0/nvme/nvme0/nvme0c0n1", hidden: true },
      ),
      "/sys/bus/pci/devices/0000:05:00.0/current_link_speed": "16.0 GT/s PCIe\n",
      "/sys/bus/pci/devices/0000:05:00.0/current_link_width": "4\n",
    });
    const disks = await disksOf(host);
    expect([...disks.values()]).toMatchObject([
      { name: "nvme0n1", transport: "nvme", interfaceSpeed: "16.0 GT/s x4", pciAddress: "0000:05:00.0", system: true },
    ]);
  });

  it("holds every disk of a ZFS for the system's, since the kernel does not tell which are", async () => {
    const path = (name: string) => `pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/${name}`;
    const host = hostOf(
      mounted("0:28 / / rw - zfs rpool/root rw", { name: "sda", path: path("sda") }, { name: "sdb", path: path("sdb") }),
      [
        lsblk([
          { kname: "sda", fstype: "zfs_member" },
          { kname: "sdb", fstype: "ext4" },
        ]),
      ],
    );
    const disks = await disksOf(host);
    expect([disks.get("sda")?.system, disks.get("sdb")?.system]).toEqual([true, false]);
  });
});

interface Block {
  name: string;
  /** Below /sys/devices. */
  path: string;
  partitions?: string[];
  slaves?: string[];
  mapper?: string;
  hidden?: boolean;
}

type Tree = Parameters<typeof hostOf>[0];

const NAMES = ["sda", "sda1", "sdb", "sdc", "md0", "dm-0", "dm-1", "loop0", "zram0", "sr0", "nvme0n1", "nvme0c0n1"];

function numberOf(name: string): string {
  return `8:${NAMES.indexOf(name)}`;
}

/** /sys/block and /sys/class/block of these, each with 2048 sectors. */
function blocks(...devices: Block[]): Tree {
  const tree: Tree = { "/sys/block": devices.map(({ name }) => name), "/sys/class/block": [], "/proc/self/mountinfo": "" };
  const all: string[] = [];
  for (const { name, path, partitions = [], slaves = [], mapper, hidden = false } of devices) {
    const own = { dev: `${numberOf(name)}\n`, size: "2048\n", hidden: hidden ? "1\n" : "0\n", slaves, "dm/name": mapper ?? "" };
    tree[`/sys/block/${name}`] = { link: `../devices/${path}`, names: [...Object.keys(own), ...partitions] };
    tree[`/sys/class/block/${name}`] = `-> ../../devices/${path}`;
    for (const [file, value] of Object.entries(own)) tree[`/sys/block/${name}/${file}`] = tree[`/sys/class/block/${name}/${file}`] = value;
    for (const partition of partitions) {
      const files = { dev: `${numberOf(partition)}\n`, size: "1024\n", partition: "1\n" };
      tree[`/sys/class/block/${partition}`] = `-> ../../devices/${path}/${partition}`;
      for (const [file, value] of Object.entries(files)) {
        tree[`/sys/block/${name}/${partition}/${file}`] = tree[`/sys/class/block/${partition}/${file}`] = value;
      }
    }
    all.push(name, ...partitions);
  }
  return { ...tree, "/sys/class/block": all };
}

/** The same with a line of /proc/self/mountinfo, without its two numbers in front. */
function mounted(mount: string, ...devices: Block[]): Tree {
  return { ...blocks(...devices), "/proc/self/mountinfo": `22 1 ${mount}\n` };
}

function lsblk(blockdevices: unknown[]) {
  return { ...LSBLK, stdout: JSON.stringify({ blockdevices }) };
}

async function disksOf(host: HostChannel, pools: ReadonlyMap<string, string> = new Map()): Promise<Map<string, Disk>> {
  return new Map((await readDisks(host, { ...NO_USERS, pools })).disks.map((disk) => [disk.name, disk]));
}
