import { basename } from "node:path";
import { attribute, element, elements, parseXml, text, type XmlElement } from "../xml.ts";
import type { DiskKind } from "./description.ts";
import { buildOrdered, inside, named, type OrderedElement, parseOrdered } from "./ordered-xml.ts";

export interface GuestDisk {
  target: string;
  path: string;
  kind: DiskKind;
  /** The paths of what it stands on, the nearest first. */
  backing: string[];
}

/** What a running domain needs of its host. */
export interface Guest {
  arch: string;
  machine: string;
  /** libvirt's word for the domain's type: "kvm" or "qemu". */
  accelerator: string;
  networks: string[];
  disks: GuestDisk[];
  kernel: string;
  initrd: string;
  /** What it has that no other host can give, in the words of its XML. */
  bound: string[];
  /** Disks that are neither files nor on a network. */
  unmovable: string[];
}

/** Devices that are pieces of the host, or directories of it. */
const BOUND_DEVICES = ["hostdev", "filesystem", "shmem", "redirdev", "smartcard", "nvram", "tpm", "vsock", "parallel"];

export function readGuest(xml: string, instanceId: string): Guest {
  const domain = parseXml(xml, "domain");
  const devices = element(domain, "devices");
  const type = element(domain, "os", "type");
  const disks = elements(devices, "disk");
  const interfaces = elements(devices, "interface");
  return {
    arch: attribute(type, "arch"),
    machine: attribute(type, "machine"),
    accelerator: attribute(domain, "type"),
    networks: interfaces.filter(isNetwork).map((nic) => attribute(element(nic, "source"), "network")),
    disks: disks.flatMap((disk) => guestDisk(disk, instanceId) ?? []),
    kernel: text(element(domain, "os", "kernel")),
    initrd: text(element(domain, "os", "initrd")),
    bound: [
      ...BOUND_DEVICES.filter((name) => elements(devices, name).length > 0),
      ...interfaces.filter((nic) => !isNetwork(nic)).map((nic) => `interface of type ${attribute(nic, "type")}`),
    ],
    unmovable: disks.filter((disk) => !isMovable(disk)).map((disk) => attribute(element(disk, "target"), "dev")),
  };
}

/** The guest's <cpu> where it names what the guest has; otherwise that of the host's model, which gives the guest all that it can. */
export function comparableCpu(domainXml: string, capabilities: string): string {
  const domain = inside(parseOrdered(domainXml), "domain") ?? [];
  const own = named(domain, "cpu")[0];
  const mode = own?.[":@"]?.["mode"];
  if (own !== undefined && (mode === undefined || mode === "custom")) return buildOrdered([own]);
  const modes = named(inside(parseOrdered(capabilities), "domainCapabilities", "cpu") ?? [], "mode");
  const model = modes.find((one) => one[":@"]?.["name"] === "host-model" && one[":@"]?.["supported"] === "yes");
  if (model === undefined) return "";
  const cpu: OrderedElement = { cpu: (model["mode"] as OrderedElement[]) ?? [], ":@": { mode: "custom", match: "exact" } };
  return buildOrdered([cpu]);
}

function guestDisk(disk: XmlElement, instanceId: string): GuestDisk | null {
  const path = attribute(element(disk, "source"), "file");
  if (path === "") return null;
  const backing: string[] = [];
  for (let at = element(disk, "backingStore"); at !== null; at = element(at, "backingStore")) {
    const file = attribute(element(at, "source"), "file");
    if (file !== "") backing.push(file);
  }
  return { target: attribute(element(disk, "target"), "dev"), path, kind: kindOf(basename(path), instanceId), backing };
}

function kindOf(name: string, instanceId: string): DiskKind {
  if (name === `${instanceId}.seed.iso`) return "seed";
  return name.startsWith(`${instanceId}.`) ? "own" : "shared";
}

function isNetwork(nic: XmlElement): boolean {
  return attribute(nic, "type") === "network";
}

/** A drive without a medium is, too. */
function isMovable(disk: XmlElement): boolean {
  const type = attribute(disk, "type");
  const source = element(disk, "source");
  return type === "file" || (type === "network" && source !== null);
}
