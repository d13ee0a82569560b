import { attribute, element, elements, parseXml, text, type XmlElement, type XmlTree } from "../xml.ts";
import { pathsOf } from "./disk-users.ts";
import type { VolumeFormat } from "./names.ts";
import { type PciPlaces, readPciPlaces } from "./pci-places.ts";

/** A volume as a disk of a domain. */
export interface ExtraDisk {
  /** The disk's serial number. */
  name: string;
  path: string;
  format: VolumeFormat;
  readOnly: boolean;
}

/** A network interface beside a domain's first. */
export interface ExtraInterface {
  name: string;
  mac: string;
  /** A libvirt network. */
  network: string;
  /** The nwfilter in front of it. */
  filter: string | null;
}

export interface ExtraDevices {
  disks: readonly ExtraDisk[];
  interfaces: readonly ExtraInterface[];
}

/** What a domain has of them; told by their aliases, which libvirt keeps as they were given. */
export interface PresentDevices {
  disks: readonly PresentDisk[];
  interfaces: readonly ExtraInterface[];
  /** Names of all disks in the guest: "vda". */
  targets: readonly string[];
  /** Serial numbers of the disks that are no volumes. */
  serials: readonly string[];
  pci: PciPlaces;
  /** How fast the domain's disks may be, for one more; null: as fast as they can. */
  ioTune: XmlTree | null;
}

export interface PresentDisk {
  name: string;
  /** Its file, and those that it stands on. */
  paths: readonly string[];
  readOnly: boolean;
  target: string;
}

/** libvirt leaves names that begin with "ua-" to its users. */
const ALIAS = { disk: "ua-volume-", interface: "ua-nic-" };
const IO_TUNE = ["total_bytes_sec", "read_bytes_sec", "write_bytes_sec", "group_name"];

export const diskAlias = (name: string) => ALIAS.disk + name;
export const interfaceAlias = (name: string) => ALIAS.interface + name;

/** Of a device of a machine without PCI. */
export const MMIO_ADDRESS: XmlTree = { "@type": "virtio-mmio" };

export interface DiskPlace {
  target: string;
  /** Null: libvirt chooses. */
  address: XmlTree | null;
  ioTune: XmlTree | null;
}

/** A <disk>. The format is said, and that nothing is below it: the content is never asked. */
export function diskElement({ name, path, format, readOnly }: ExtraDisk, { target, address, ioTune }: DiskPlace): XmlTree {
  return {
    "@type": "file",
    "@device": "disk",
    driver: { "@name": "qemu", "@type": format, "@error_policy": "stop" },
    source: { "@file": path },
    backingStore: true,
    target: { "@dev": target, "@bus": "virtio" },
    iotune: ioTune,
    readonly: readOnly,
    shareable: readOnly,
    serial: name,
    alias: { "@name": diskAlias(name) },
    address,
  };
}

/** An <interface>. Without an address, libvirt chooses one. */
export function interfaceElement({ name, mac, network, filter }: ExtraInterface, address: XmlTree | null): XmlTree {
  return {
    "@type": "network",
    mac: { "@address": mac },
    source: { "@network": network },
    model: { "@type": "virtio" },
    filterref: filter !== null && { "@filter": filter },
    alias: { "@name": interfaceAlias(name) },
    address,
  };
}

export function readDevices(domainXml: string): PresentDevices {
  const domain = parseXml(domainXml, "domain");
  const devices = element(domain, "devices");
  const disks = elements(devices, "disk");
  const own = disks.filter((disk) => extraName(disk, ALIAS.disk) === null);
  return {
    disks: disks.flatMap((disk) => {
      const name = extraName(disk, ALIAS.disk);
      const readOnly = element(disk, "readonly") !== null;
      return name === null ? [] : [{ name, paths: pathsOf(disk), readOnly, target: targetOf(disk) }];
    }),
    interfaces: elements(devices, "interface").flatMap((nic) => {
      const name = extraName(nic, ALIAS.interface);
      if (name === null) return [];
      const filter = attribute(element(nic, "filterref"), "filter");
      return [
        {
          name,
          mac: attribute(element(nic, "mac"), "address").toLowerCase(),
          network: attribute(element(nic, "source"), "network"),
          filter: filter === "" ? null : filter,
        },
      ];
    }),
    targets: disks.map(targetOf),
    serials: own.map((disk) => text(element(disk, "serial"))).filter((serial) => serial !== ""),
    pci: readPciPlaces(domain),
    ioTune: own.map((disk) => ioTuneOf(disk)).find((tune) => tune !== null) ?? null,
  };
}

/** vda … vdz, vdaa … */
export function targetName(index: number): string {
  const letter = String.fromCharCode(97 + (index % 26));
  return index < 26 ? `vd${letter}` : `${targetName(Math.floor(index / 26) - 1)}${letter}`;
}

/** The first that no disk has. */
export function freeTarget(taken: ReadonlySet<string>): string {
  let index = 0;
  while (taken.has(targetName(index))) index += 1;
  return targetName(index);
}

function extraName(device: XmlElement, prefix: string): string | null {
  const alias = attribute(element(device, "alias"), "name");
  return alias.startsWith(prefix) ? alias.slice(prefix.length) : null;
}

function targetOf(disk: XmlElement): string {
  return attribute(element(disk, "target"), "dev");
}

/** What all disks of the domain share: only where it is a group's. */
function ioTuneOf(disk: XmlElement): XmlTree | null {
  const tune = element(disk, "iotune");
  if (text(element(tune, "group_name")) === "") return null;
  return Object.fromEntries(IO_TUNE.map((name) => [name, text(element(tune, name)) || null]));
}
