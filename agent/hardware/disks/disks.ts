import type { Disk, DiskInventory } from "../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import type { HostChannel, HostNeeds } from "../../host/host-channel.ts";
import type { DeviceUsers } from "../device-users.ts";
import { pciAddressesIn } from "../own-use/device-path.ts";
import { OWN_DISKS_PATHS, readOwnDisks } from "../own-use/own-disks.ts";
import { countOf, linkedName, textOf } from "../sysfs.ts";
import { Unavailable } from "../unavailable.ts";
import { BLOCK_PATHS, type BlockDevice, isDisk, readBlockDevices } from "./block-devices.ts";
import { BlockStack } from "./block-stack.ts";
import { FILE_SYSTEM_PATHS, FileSystems } from "./file-systems.ts";
import { LSBLK, type LsblkEntry, readLsblk } from "./lsblk.ts";
import { interfaceSpeed, TRANSPORT_PATHS, transportOf } from "./transport.ts";

const BLOCK = "/sys/block";
const MAX_DISKS = 1024;

const DISK_FILES = [
  ...["ro", "removable", "serial", "wwid"],
  ...["queue/rotational", "queue/logical_block_size", "queue/physical_block_size"],
  ...["device/model", "device/serial", "device/rev", "device/firmware_rev", "device/wwid"],
];

export const DISK_NEEDS: HostNeeds = {
  paths: [
    ...new Set([
      ...[BLOCK_PATHS, DISK_FILES.map((name) => `${BLOCK}/*/${name}`), TRANSPORT_PATHS, FILE_SYSTEM_PATHS, OWN_DISKS_PATHS].flat(),
      // Storage pools name their disks so.
      "/dev/disk/by-*/*",
    ]),
  ],
  commands: [LSBLK],
};

/**
 * Every disk that has a medium, ordered by name, without SMART (`withSmart`). Sizes and partitions are from sysfs, mount points from
 * /proc; what lsblk adds (serial numbers, file systems) is not set without it. Never throws for what cannot be read.
 */
export async function readDisks(host: HostChannel, users: DeviceUsers): Promise<DiskInventory> {
  const unavailable = new Unavailable();
  const inventory: DiskInventory = { disks: [], unavailable: unavailable.fields };
  const devices = await unavailable.attempt("disks", () => readBlockDevices(host));
  if (devices === undefined) return inventory;
  const stack = new BlockStack(devices);
  const fileSystems = await FileSystems.read(host, stack);
  const lsblk = (await unavailable.attempt("disks[*].fileSystem", () => readLsblk(host))) ?? new Map<string, LsblkEntry>();
  const isSystem = await systemRule(host, users, unavailable);
  const pools = await poolsByDisk(host, users, stack, fileSystems);
  const disks = devices.filter(isDisk);
  if (disks.length > MAX_DISKS) {
    unavailable.add("disks", "UNREADABLE", `The host has ${disks.length} disks; those after the first ${MAX_DISKS} are left out.`);
  }
  for (const [index, device] of disks.slice(0, MAX_DISKS).entries()) {
    const told = lsblk.get(device.name);
    const paths = waysTo(device, devices);
    const disk: Disk = {
      ...(await identityOf(host, device, paths[0] ?? device.path, told)),
      smart: undefined,
      partitions: device.partitions.map(({ name, sizeBytes }) => {
        const { parttypename, parttype, partlabel, partuuid } = lsblk.get(name) ?? {};
        const fileSystem = fileSystems.contentOf(name, lsblk.get(name));
        return { name, sizeBytes, type: parttypename ?? parttype, label: partlabel, uuid: partuuid, fileSystem };
      }),
      fileSystem: device.partitions.length === 0 ? fileSystems.contentOf(device.name, told) : undefined,
      pools: pools.get(device.name) ?? [],
      system: isSystem(
        paths,
        [device, ...device.partitions].map(({ name }) => lsblk.get(name)?.fstype),
      ),
    };
    for (const key of ["interfaceSpeed", "model", "serial", "firmware", "wwn"] as const) {
      if (disk[key] === undefined)
        unavailable.add(`disks[${index}].${key}`, "NOT_SUPPORTED", `Nothing on the host tells it of ${device.name}.`);
    }
    inventory.disks.push(disk);
  }
  return inventory;
}

type Identity = Omit<Disk, "smart" | "partitions" | "fileSystem" | "pools" | "system" | "rotationRpm">;

/** udev's names are whole, SCSI's own are cut off after 16 characters. */
async function identityOf(host: HostChannel, device: BlockDevice, path: string, told: LsblkEntry | undefined): Promise<Identity> {
  const { name, sizeBytes } = device;
  const text = (file: string) => textOf(host, `${BLOCK}/${name}/${file}`);
  const count = (file: string) => countOf(host, `${BLOCK}/${name}/${file}`);
  const transport = transportOf(device.path);
  const rotational = await count("queue/rotational");
  return {
    ...{ name, transport, sizeBytes },
    interfaceSpeed: await interfaceSpeed(host, transport, path),
    logicalBlockBytes: await count("queue/logical_block_size"),
    physicalBlockBytes: await count("queue/physical_block_size"),
    model: told?.model ?? (await text("device/model")),
    serial: told?.serial ?? (await text("serial")) ?? (await text("device/serial")),
    firmware: told?.rev ?? (await text("device/firmware_rev")) ?? (await text("device/rev")),
    wwn: told?.wwn ?? worldWideName((await text("wwid")) ?? (await text("device/wwid"))),
    rotational: rotational === undefined ? undefined : rotational === 1,
    removable: (await count("removable")) === 1,
    readOnly: (await count("ro")) === 1,
    pciAddress: pciAddressesIn(path).at(-1),
  };
}

/** The kernel makes up a "t10." from model and serial number where a disk has none. */
function worldWideName(wwid: string | undefined): string | undefined {
  return wwid?.startsWith("t10.") ? undefined : wwid;
}

/** An NVMe namespace that several controllers lead to is a virtual device; its hidden ways ("nvme0c1n1") are at the controllers. */
function waysTo({ name, path }: BlockDevice, devices: readonly BlockDevice[]): string[] {
  const namespace = /^nvme(\d+)n(\d+)$/.exec(name);
  const way = new RegExp(`^nvme${namespace?.[1]}c\\d+n${namespace?.[2]}$`);
  const ways = namespace === null ? [] : devices.filter((device) => device.hidden && way.test(device.name));
  return ways.length === 0 ? [path] : ways.map((device) => device.path);
}

/** Whether the host's own system is on a disk with these paths and types of file systems; where that cannot be told, it is. */
async function systemRule(host: HostChannel, users: DeviceUsers, unavailable: Unavailable) {
  const own = await unavailable.attempt("disks[*].system", () => readOwnDisks(host, users.pools));
  if (own === undefined) return () => true;
  const system = own.uses.filter(({ use }) => use.system).map(({ path }) => path.slice(path.indexOf("/devices/")));
  return (paths: readonly string[], types: ReadonlyArray<string | undefined>) => {
    if (own.unknown !== null && types.includes("zfs_member")) return true;
    return paths.some((path) => system.some((used) => used === path || used.startsWith(`${path}/`)));
  };
}

/** Names of pools by the disks that they are on. */
async function poolsByDisk(host: HostChannel, users: DeviceUsers, stack: BlockStack, fileSystems: FileSystems) {
  const pools = new Map<string, string[]>();
  for (const [source, pool] of users.pools) {
    const link = source.startsWith("/dev/disk/") ? await linkedName(host, source) : undefined;
    const device = link ?? (source.startsWith("/dev/") ? stack.named(source) : fileSystems.holding(source));
    for (const disk of device === undefined ? [] : stack.disksUnder(device)) {
      pools.set(disk, [...new Set([...(pools.get(disk) ?? []), pool])].sort());
    }
  }
  return pools;
}
