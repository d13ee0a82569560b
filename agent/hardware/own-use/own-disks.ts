import type { HostChannel } from "../../host/host-channel.ts";
import { ifPresent, mapBounded } from "../read-optional.ts";
import { type Mount, parseMounts, parseSwaps } from "./mounts.ts";

const BLOCK = "/sys/class/block";
const BTRFS = "/sys/fs/btrfs";
const MOST_DEVICES = 4096;
const AT_ONCE = 16;
/** Where the host's own system is mounted. */
const SYSTEM = /^\/(?:(?:boot|efi|usr|var|etc|home|root)(?:\/.*)?)?$/;

export const OWN_DISKS_PATHS = [
  "/proc/self/mountinfo",
  "/proc/swaps",
  BLOCK,
  ...["", "/dev", "/slaves", "/holders"].map((file) => `${BLOCK}/*${file}`),
  `${BLOCK}/dm-*/dm/name`,
  BTRFS,
  `${BTRFS}/*/devices`,
  "/dev/disk/by-*/*",
];

/** What a block device does for the host. */
export interface DiskUse {
  /** The host's own system is on it. */
  system: boolean;
  /** "holds /boot", "holds swap space", "is a part of dm-0". */
  what: string;
}

export interface OwnDisks {
  /** By the sysfs paths of the block devices in use. */
  uses: Array<{ path: string; use: DiskUse }>;
  /** Why it cannot be told of every disk; null where it can. */
  unknown: string | null;
}

interface BlockDevice {
  name: string;
  /** The link's target, which leads through the devices that it is on. */
  path: string;
  /** "259:0". */
  number: string;
  slaves: string[];
  holders: string[];
  /** Of the device mapper. */
  mappedName: string | undefined;
}

/**
 * The block devices that the host itself uses, and those that they are on (LVM, RAID, encryption, btrfs). `pools`: as in DeviceUsers.
 * Throws HostReadError.
 */
export async function readOwnDisks(host: HostChannel, pools: ReadonlyMap<string, string>): Promise<OwnDisks> {
  const names = ((await ifPresent(host.list(BLOCK))) ?? []).slice(0, MOST_DEVICES);
  const used = new UsedDisks(await mapBounded(names, AT_ONCE, (name) => readBlockDevice(host, name)));
  const mounts = parseMounts(await host.read("/proc/self/mountinfo"));
  for (const mount of mounts) used.takeMount(mount);
  for (const file of parseSwaps((await ifPresent(host.read("/proc/swaps"))) ?? ""))
    used.takeSource(file, { system: true, what: "holds swap space" });
  for (const members of await readBtrfs(host)) used.takeAlike(members);
  used.takeParts();
  for (const [source, pool] of pools) {
    const target = source.startsWith("/dev/disk/") ? await ifPresent(host.readLink(source)) : undefined;
    const file = target?.replace(/^(?:\.\.\/)+/, "/dev/") ?? source;
    used.takeSource(file, { system: false, what: `holds the storage pool ${pool}` });
  }
  return { uses: used.paths(), unknown: whyUnknown(mounts) };
}

class UsedDisks {
  readonly #devices: readonly BlockDevice[];
  readonly #uses = new Map<string, DiskUse>();

  constructor(devices: readonly BlockDevice[]) {
    this.#devices = devices;
  }

  takeMount({ number, source, target }: Mount): void {
    const use = { system: SYSTEM.test(target), what: `holds ${target}` };
    const name = this.#devices.find((device) => device.number === number)?.name;
    if (name !== undefined) this.#take(name, use);
    // btrfs and bcachefs have no device of their own; the latter names all that it is on.
    else for (const each of source.split(":")) this.takeSource(each, use);
  }

  /** `source`: "/dev/sda1", "/dev/mapper/vg-root", "/dev/vg/root"; anything else is on none of these devices. */
  takeSource(source: string, use: DiskUse): void {
    if (!source.startsWith("/dev/")) return;
    const file = source.slice("/dev/".length);
    // The device mapper doubles the dashes within a name of LVM.
    const mapped = file.startsWith("mapper/") ? file.slice("mapper/".length) : file.replaceAll("-", "--").replace("/", "-");
    const device = this.#devices.find(({ name, mappedName }) => name === file.replaceAll("/", "!") || mappedName === mapped);
    if (device) this.#take(device.name, use);
  }

  /** What one of them is used for all are. */
  takeAlike(names: readonly string[]): void {
    const uses = names.flatMap((name) => this.#uses.get(name) ?? []);
    const use = uses.find(({ system }) => system) ?? uses[0];
    if (use) for (const name of names) this.#take(name, use);
  }

  /** What another block device is made of is in use, whatever that one is for. */
  takeParts(): void {
    for (const { name, holders } of this.#devices) if (holders[0]) this.#take(name, { system: false, what: `is a part of ${holders[0]}` });
  }

  paths(): OwnDisks["uses"] {
    return [...this.#uses].flatMap(([name, use]) => this.#pathsOf(name).map((path) => ({ path, use })));
  }

  /** The first use stays, unless this one is the system's. */
  #take(name: string, use: DiskUse): void {
    const known = this.#uses.get(name);
    if (known && (known.system || !use.system)) return;
    this.#uses.set(name, use);
    for (const slave of this.#devices.find((device) => device.name === name)?.slaves ?? []) this.#take(slave, use);
  }

  /** An NVMe namespace with several ways to it is a virtual device: the ways ("nvme0c1n1") lead through the controllers. */
  #pathsOf(name: string): string[] {
    const namespace = /^nvme(\d+)n(\d+)(?:p\d+)?$/.exec(name);
    const way = namespace && new RegExp(`^nvme${namespace[1]}c\\d+n${namespace[2]}$`);
    return this.#devices.filter((device) => device.name === name || way?.test(device.name)).map(({ path }) => path);
  }
}

async function readBlockDevice(host: HostChannel, name: string): Promise<BlockDevice> {
  const directory = `${BLOCK}/${name}`;
  const [path, number, slaves, holders, mappedName] = await Promise.all([
    ifPresent(host.readLink(directory)),
    ifPresent(host.read(`${directory}/dev`)),
    ifPresent(host.list(`${directory}/slaves`)),
    ifPresent(host.list(`${directory}/holders`)),
    name.startsWith("dm-") ? ifPresent(host.read(`${directory}/dm/name`)) : undefined,
  ]);
  return {
    name,
    path: path ?? "",
    number: number?.trim() ?? "",
    slaves: slaves ?? [],
    holders: holders ?? [],
    mappedName: mappedName?.trim(),
  };
}

/** The devices of each btrfs that is mounted: a mount names one of them only. */
async function readBtrfs(host: HostChannel): Promise<string[][]> {
  const systems = ((await ifPresent(host.list(BTRFS))) ?? []).slice(0, MOST_DEVICES);
  const lists = await mapBounded(systems, AT_ONCE, (system) => ifPresent(host.list(`${BTRFS}/${system}/devices`)));
  return lists.map((names) => names ?? []);
}

function whyUnknown(mounts: readonly Mount[]): string | null {
  const pool = mounts.find(({ type }) => type === "zfs");
  return pool ? `The kernel does not tell which disks the ZFS pool of ${pool.target} is on.` : null;
}
