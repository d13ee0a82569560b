import { Disk, type DiskInventory } from "../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import type { LibvirtOnlyHost } from "../../host/libvirt-only-host.ts";
import type { DeviceUsers } from "../device-users.ts";
import { transportOf } from "../disks/transport.ts";
import { pciAddressIn } from "../sysfs.ts";
import { Unavailable } from "../unavailable.ts";
import { attemptOverLibvirt, NOT_TOLD, type NodeDevice, readNodeDevices, subCapability, textIn, wholeNumber } from "./node-devices.ts";

const MAX_DISKS = 1024;
const NEVER_TOLD = [
  "interfaceSpeed",
  "firmware",
  "wwn",
  "rotational",
  "physicalBlockBytes",
  "readOnly",
  "system",
  "partitions",
  "fileSystem",
];

/** The disks as libvirt knows them, ordered by name. Throws HostReadError where libvirt is gone. */
export async function readDisksOverLibvirt(host: LibvirtOnlyHost, users: DeviceUsers): Promise<DiskInventory> {
  const unavailable = new Unavailable();
  const devices = (await attemptOverLibvirt(unavailable, "disks", () => readNodeDevices(host, "STORAGE"))) ?? [];
  const disks = devices.filter((device) => textIn(device, "drive_type") === "disk").map((device) => diskOf(device, users.pools));
  disks.sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
  if (disks.length > MAX_DISKS) {
    unavailable.add("disks", "UNREADABLE", `The host has ${disks.length} disks; those after the first ${MAX_DISKS} are left out.`);
    disks.length = MAX_DISKS;
  }
  if (disks.length > 0) for (const field of NEVER_TOLD) unavailable.add(`disks[*].${field}`, "NO_SHELL", NOT_TOLD);
  for (const [index, { name, model, serial }] of disks.entries()) {
    for (const [field, value] of Object.entries({ model, serial })) {
      if (value === undefined) unavailable.add(`disks[${index}].${field}`, "NOT_SUPPORTED", `libvirt tells none of ${name}.`);
    }
  }
  return { disks, unavailable: unavailable.fields };
}

export function diskOf(device: NodeDevice, pools: ReadonlyMap<string, string> = new Map()): Disk {
  const block = textIn(device, "block") ?? "";
  const removable = subCapability(device, "removable");
  return Disk.fromPartial({
    name: block.replace(/^\/dev\//, ""),
    transport: transportOf(device.path) || (textIn(device, "bus") ?? ""),
    sizeBytes: wholeNumber(textIn(device, "size")) ?? 0,
    logicalBlockBytes: wholeNumber(textIn(device, "logical_block_size")),
    model: textIn(device, "model"),
    serial: serialOf(device),
    removable: removable !== null,
    // A namespace that several controllers lead to is no device of one; its links name the first.
    pciAddress: pciAddressIn(device.path) ?? device.links.flatMap((link) => /\/by-path\/pci-([0-9a-f:]+\.[0-7])-/.exec(link)?.[1] ?? [])[0],
    pools: [...new Set([...pools].flatMap(([source, pool]) => (isOn(source, [block, ...device.links]) ? pool : [])))].sort(),
    // Where it cannot be told, it is.
    system: true,
  });
}

/** udev puts vendor and model before the number, and after it the namespace (NVMe) or the unit (USB). */
function serialOf(device: NodeDevice): string | undefined {
  const whole = textIn(device, "serial");
  if (whole === undefined) return undefined;
  const [vendor = "", model = ""] = [textIn(device, "vendor"), textIn(device, "model")].map((one) => one?.trim().replace(/\s+/g, "_"));
  const before = [`${vendor}_${model}_`, `${model}_`].find((one) => model !== "" && whole.startsWith(one) && whole !== one);
  if (before === undefined) return whole;
  const namespace = /nvme\d+n(\d+)$/.exec(textIn(device, "block") ?? "")?.[1];
  const after = namespace === undefined ? /(?<=.)-\d+:\d+$/ : new RegExp(`(?<=.)_${namespace}$`);
  return whole.slice(before.length).replace(after, "");
}

/** A disk, one of its links, or a partition of it: "/dev/sdb1", "/dev/nvme0n1p1", "/dev/disk/by-id/…-part1". */
function isOn(source: string, names: readonly string[]): boolean {
  return names.some((name) => source === name || (source.startsWith(name) && /^(?:-part|p)?\d+$/.test(source.slice(name.length))));
}
