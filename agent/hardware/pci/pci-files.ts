import type { Sriov } from "../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import type { HostChannel, HostNeeds } from "../../host/host-channel.ts";
import type { DeviceUsers } from "../device-users.ts";
import { malformed } from "../kernel-text.ts";
import { readSriov, SRIOV_PATHS } from "../network/virtual-functions.ts";
import { pciAddressesIn } from "../own-use/device-path.ts";
import { ifPresent } from "../read-optional.ts";

export const PCI_DEVICES = "/sys/bus/pci/devices";

const FILES = [
  "uevent",
  "revision",
  "numa_node",
  "current_link_speed",
  "max_link_speed",
  "current_link_width",
  "max_link_width",
  "iommu_group",
  "physfn",
];

export const PCI_FILES_NEEDS: HostNeeds = {
  paths: [
    PCI_DEVICES,
    `${PCI_DEVICES}/*`,
    ...FILES.map((file) => `${PCI_DEVICES}/*/${file}`),
    ...SRIOV_PATHS,
    "/sys/kernel/iommu_groups/*/name",
  ],
  commands: [],
};

/** What sysfs has of a PCI device; undefined for what it has not, and as it is written where numbers may be unknown. */
export interface PciFiles {
  address: string;
  classId: number;
  vendorId: number;
  deviceId: number;
  subsystemVendorId: number | undefined;
  subsystemDeviceId: number | undefined;
  revision: number | undefined;
  driver: string | undefined;
  /** Below 0 where the firmware does not tell. */
  numaNode: number | undefined;
  link: { speed: string; maxSpeed: string; width: string; maxWidth: string } | undefined;
  iommuGroup: number | undefined;
  physicalFunction: string | undefined;
  /** Of a physical function that can have virtual ones. */
  sriov: Sriov | undefined;
  /** The bridge above it. */
  parent: string | undefined;
}

/** Null for a device that is gone by now. Throws HostReadError. */
export async function readPciFiles(host: HostChannel, address: string, users: DeviceUsers): Promise<PciFiles | null> {
  const directory = `${PCI_DEVICES}/${address}`;
  const text = async (file: string) => (await ifPresent(host.read(`${directory}/${file}`)))?.trim();
  const number = async (file: string) => asNumber(await text(file), `${directory}/${file}`);
  const target = async (file: string) => lastSegment(await ifPresent(host.readLink(`${directory}/${file}`)));
  const [event, place, revision, numaNode, link, group, physicalFunction, sriov] = await Promise.all([
    text("uevent"),
    ifPresent(host.readLink(directory)),
    number("revision"),
    number("numa_node"),
    readLinkFiles(text),
    target("iommu_group"),
    target("physfn"),
    readSriov(host, address, users),
  ]);
  if (event === undefined) return null;
  const known = await isolated(host, group);
  const parent = pciAddressesIn(place ?? "").at(-2);
  return {
    address,
    ...parseEvent(event, `${directory}/uevent`),
    ...{ revision, numaNode, link, physicalFunction, sriov, parent },
    iommuGroup: known ? asNumber(group, `${directory}/iommu_group`) : undefined,
  };
}

async function readLinkFiles(text: (file: string) => Promise<string | undefined>): Promise<PciFiles["link"]> {
  const [speed, maxSpeed, width, maxWidth] = await Promise.all([
    text("current_link_speed"),
    text("max_link_speed"),
    text("current_link_width"),
    text("max_link_width"),
  ]);
  if (speed === undefined && maxSpeed === undefined) return undefined;
  return { speed: speed ?? "", maxSpeed: maxSpeed ?? "", width: width ?? "", maxWidth: maxWidth ?? "" };
}

/** Without an IOMMU VFIO can make up groups that keep nothing apart. */
async function isolated(host: HostChannel, group: string | undefined): Promise<boolean> {
  if (group === undefined) return false;
  const name = await ifPresent(host.read(`/sys/kernel/iommu_groups/${group}/name`));
  return name?.trim() !== "vfio-noiommu";
}

/** "DRIVER=e1000e", "PCI_CLASS=20000", "PCI_ID=8086:10D3", "PCI_SUBSYS_ID=8086:A01F", a line each. */
function parseEvent(text: string, path: string) {
  const fields = new Map(text.split("\n").map((line) => splitOnce(line, "=")));
  const [vendor = "", device = ""] = splitOnce(fields.get("PCI_ID") ?? "", ":");
  const [subsystemVendor, subsystemDevice] = splitOnce(fields.get("PCI_SUBSYS_ID") ?? "", ":").map((id) => Number.parseInt(id, 16));
  const ids = [fields.get("PCI_CLASS") ?? "", vendor, device].map((id) => Number.parseInt(id, 16));
  const [classId, vendorId, deviceId] = ids;
  if (classId === undefined || vendorId === undefined || deviceId === undefined || ids.some(Number.isNaN)) throw malformed(path, text);
  const driver = fields.get("DRIVER");
  // A device that has none, such as a bridge, is given zeros.
  const subsystem = subsystemVendor ? { subsystemVendorId: subsystemVendor, subsystemDeviceId: subsystemDevice } : {};
  return { classId, vendorId, deviceId, driver, subsystemVendorId: undefined, subsystemDeviceId: undefined, ...subsystem };
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}

function asNumber(text: string | undefined, path: string): number | undefined {
  if (text === undefined) return undefined;
  if (!/^(?:-?\d+|0x[0-9a-f]+)$/i.test(text)) throw malformed(path, text);
  return Number(text);
}

function lastSegment(path: string | undefined): string | undefined {
  return path?.slice(path.lastIndexOf("/") + 1);
}
