import type { HostChannel } from "../../host/host-channel.ts";
import { pciAddressesIn, usbPortsIn } from "../own-use/device-path.ts";
import { countOf, namesIn, textOf } from "../sysfs.ts";

const PCI = "/sys/bus/pci/devices";
const USB = "/sys/bus/usb/devices";

export const TRANSPORT_PATHS = [
  ...["current_link_speed", "current_link_width"].map((name) => `${PCI}/*/${name}`),
  `${USB}/*/speed`,
  "/sys/class/ata_link/*/sata_spd",
  "/sys/class/sas_port/*/device",
  "/sys/class/sas_phy/*/negotiated_linkrate",
];

/** The first that fits says how a disk is attached: a part of its path in sysfs. */
const TRANSPORTS: ReadonlyArray<[RegExp, string]> = [
  [/\/nvme/, "nvme"],
  [/\/mmc_host\//, "mmc"],
  [/\/usb\d+\//, "usb"],
  [/\/ata\d+\//, "sata"],
  [/\/end_device-/, "sas"],
  [/\/rport-/, "fc"],
  [/\/session\d+\//, "iscsi"],
  [/\/host\d+\//, "scsi"],
  [/\/virtio\d+\//, "virtio"],
  [/\/vbd-/, "xen"],
  [/\/ndbus\d+\//, "nvdimm"],
];

/** "nvme", "sata", …; empty where the path does not tell. */
export function transportOf(path: string): string {
  return TRANSPORTS.find(([pattern]) => pattern.test(path))?.[1] ?? "";
}

/** What was negotiated with the disk: "8.0 GT/s x4", "6.0 Gb/s", "480 Mb/s". */
export async function interfaceSpeed(host: HostChannel, transport: string, path: string): Promise<string | undefined> {
  if (transport === "nvme") return await pcieSpeed(host, pciAddressesIn(path).at(-1));
  if (transport === "usb") return await usbSpeed(host, usbPortsIn(path).at(-1));
  if (transport === "sata") {
    // A port multiplier's disks have links of their own, "link1.0"; without one, ata1's link is link1.
    const port = /\/ata(\d+)\//.exec(path)?.[1];
    return gigabits(await textOf(host, `/sys/class/ata_link/link${/\/link([\d.]+)\//.exec(path)?.[1] ?? port}/sata_spd`));
  }
  if (transport === "sas") {
    const port = path.split("/").findLast((part) => /^port-[\d:]+$/.test(part));
    const phy = (await namesIn(host, `/sys/class/sas_port/${port}/device`)).find((name) => name.startsWith("phy-"));
    return gigabits(await textOf(host, `/sys/class/sas_phy/${phy}/negotiated_linkrate`));
  }
  return undefined;
}

/** "8.0 GT/s PCIe" and 4. */
async function pcieSpeed(host: HostChannel, address: string | undefined): Promise<string | undefined> {
  const speed = /^[\d.]+ GT\/s/.exec((await textOf(host, `${PCI}/${address}/current_link_speed`)) ?? "")?.[0];
  const width = await countOf(host, `${PCI}/${address}/current_link_width`);
  return speed === undefined || !width ? undefined : `${speed} x${width}`;
}

/** Mb/s, as "480", "1.5", "5000". */
async function usbSpeed(host: HostChannel, port: string | undefined): Promise<string | undefined> {
  const megabits = Number(await textOf(host, `${USB}/${port}/speed`));
  if (!megabits) return undefined;
  return megabits < 1000 ? `${megabits} Mb/s` : `${(megabits / 1000).toFixed(1)} Gb/s`;
}

/** "6.0 Gbps" of SATA, "12.0 Gbit" of SAS; "<unknown>". */
function gigabits(text: string | undefined): string | undefined {
  const number = /^([\d.]+) Gb/.exec(text ?? "")?.[1];
  return number === undefined ? undefined : `${number} Gb/s`;
}
