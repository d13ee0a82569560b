import { createHash } from "node:crypto";
import { Firmware, InstanceType, type ResourceLimits } from "../../../schema/generated/proto/hypervisor/v1/compute.ts";
import type { InstancePlan } from "../instance-driver.ts";
import type { HostAbilities, MachineAbilities } from "./abilities.ts";
import { AGENT_CHANNEL } from "./domain-facts.ts";
import { markElement } from "./domain-mark.ts";
import type { PreparedDisk, PreparedStorage } from "./storage/instance-storage.ts";
import { diskElement, type ExtraDevices, interfaceElement, MMIO_ADDRESS, targetName } from "./volumes/devices.ts";
import { buildXml, isXmlText, type XmlTree } from "./xml.ts";

/** A network interface that a domain is to have. */
export interface PlannedInterface {
  /** The name of a libvirt network. */
  network: string;
  /** The nwfilter in front of it. */
  filter: string | null;
}

export interface DomainPlan {
  plan: InstancePlan;
  storage: PreparedStorage;
  abilities: HostAbilities;
  interfaces: readonly PlannedInterface[];
  /** What it has beside its own disks and these interfaces. */
  extras?: ExtraDevices;
}

/** What QEMU keeps of a disk's serial number. */
const SERIAL_LENGTH = 20;
/** How often the guest's balloon is asked for the guest's memory figures. */
const BALLOON_PERIOD_SECONDS = 5;
/** USB, virtio-serial, the random number generator, the balloon. */
const OTHER_PCI_DEVICES = 4;
/** For devices that come while it runs. */
const FREE_PORTS = 8;
const NO_EXTRAS: ExtraDevices = { disks: [], interfaces: [] };
/** All disks of an instance share what its limits allow. */
const THROTTLE_GROUP = "fleetgraph";

/** The domain of an instance. What a user wrote is in it unchanged, or was refused before (see check-plan.ts). */
export function domainXml({ plan, storage, abilities, interfaces, extras = NO_EXTRAS }: DomainPlan): string {
  const { instanceId, name, spec } = plan;
  const isMicroVm = plan.type === InstanceType.MICROVM;
  const machine = isMicroVm ? abilities.microVm : abilities.vm;
  if (machine === null) throw new TypeError(`The host has no machine for ${instanceId}.`);
  const limits = spec.limits;
  const disks = diskElements(storage, extras, limits, isMicroVm);
  const nics = [
    ...interfaces.map((nic, index) => firstInterface(nic, macAddress(instanceId, index), isMicroVm)),
    ...extras.interfaces.map((nic) => interfaceElement(nic, isMicroVm ? MMIO_ADDRESS : null)),
  ];
  return buildXml({
    domain: {
      "@type": abilities.accelerator,
      name: instanceId,
      title: titleOf(name),
      metadata: markElement(plan),
      memory: { "@unit": "KiB", "#text": Math.ceil(spec.memoryBytes / 1024) },
      vcpu: { "@placement": "static", "#text": spec.cpuCores },
      cputune: cpuTune(limits),
      os: operatingSystem(plan, storage, abilities, machine),
      features: { acpi: true, apic: !isMicroVm },
      cpu: cpuElement(machine),
      clock: { "@offset": "utc" },
      on_poweroff: "destroy",
      on_reboot: "restart",
      on_crash: "destroy",
      devices: {
        emulator: abilities.emulator,
        disk: disks,
        interface: nics,
        controller: [
          { "@type": "usb", "@model": isMicroVm ? "none" : "qemu-xhci" },
          { "@type": "virtio-serial", "@index": 0, ...bus(isMicroVm) },
          ...(machine.name === "q35" ? rootPorts(disks.length + nics.length + OTHER_PCI_DEVICES + FREE_PORTS) : []),
        ],
        serial: { "@type": "pty", target: { "@type": "isa-serial", "@port": 0 } },
        console: { "@type": "pty", target: { "@type": "serial", "@port": 0 } },
        channel: { "@type": "unix", target: { "@type": "virtio", "@name": AGENT_CHANNEL } },
        rng: { "@model": "virtio", backend: { "@model": "random", "#text": "/dev/urandom" }, ...bus(isMicroVm) },
        memballoon: isMicroVm ? { "@model": "none" } : { "@model": "virtio", stats: { "@period": BALLOON_PERIOD_SECONDS } },
        // Tells when the guest's kernel panicked.
        panic: !isMicroVm && { "@model": "isa" },
      },
    },
  });
}

/** Always the same for an instance's interface, so that it keeps its lease; locally administered, 40 bits of its own. `which`: a number or a name. */
export function macAddress(instanceId: string, which: number | string): string {
  const hash = createHash("sha256").update(`${instanceId}/${which}`).digest("hex");
  return `52:${(hash.slice(0, 10).match(/../g) ?? []).join(":")}`;
}

/**
 * Under emulation a microVM has no clock but the time-stamp counter and a timer too coarse to measure it by: on a busy host Linux gives up
 * measuring, and never gets another tick. The emulated counter is the host's own, whose rate libvirt knows. Put first: what the user says
 * counts.
 */
export function commandLine(plan: InstancePlan, { accelerator, tscKhz }: Pick<HostAbilities, "accelerator" | "tscKhz">): string {
  const isEmulated = plan.type === InstanceType.MICROVM && accelerator === "qemu" && tscKhz !== null;
  return [isEmulated ? `tsc_early_khz=${tscKhz}` : "", plan.spec.kernelArgs].filter((part) => part !== "").join(" ");
}

/** libvirt's titles are one line; the name itself is kept in the mark. */
function titleOf(name: string): string {
  const line = name.toWellFormed().replace(/[\r\n]+/g, " ");
  return isXmlText(line) ? line : [...line].map((character) => (isXmlText(character) ? character : "\ufffd")).join("");
}

function operatingSystem(plan: InstancePlan, storage: PreparedStorage, abilities: HostAbilities, machine: MachineAbilities): XmlTree {
  const isUefi = plan.spec.firmware === Firmware.UEFI;
  const cmdline = commandLine(plan, abilities);
  return {
    ...(isUefi && {
      "@firmware": "efi",
      // Images need not be signed.
      firmware: { feature: { "@enabled": "no", "@name": "secure-boot" } },
    }),
    type: { "@arch": abilities.arch, "@machine": machine.name, "#text": "hvm" },
    kernel: storage.kernel,
    initrd: storage.initrd,
    cmdline: storage.kernel === null || cmdline === "" ? null : cmdline,
  };
}

function firstInterface({ network, filter }: PlannedInterface, mac: string, isMicroVm: boolean): XmlTree {
  return {
    "@type": "network",
    mac: { "@address": mac },
    source: { "@network": network },
    model: { "@type": "virtio" },
    filterref: filter !== null && { "@filter": filter },
    ...bus(isMicroVm),
  };
}

/** On a q35 each device that comes while the guest runs needs a port of its own, which must be there from the beginning. */
function rootPorts(count: number): XmlTree[] {
  return Array.from({ length: count }, (_, index) => ({ "@type": "pci", "@index": index + 1, "@model": "pcie-root-port" }));
}

function diskElements(storage: PreparedStorage, extras: ExtraDevices, limits: ResourceLimits | undefined, isMicroVm: boolean): XmlTree[] {
  const bootOrder = [...storage.disks].sort((a, b) => Number(b.boot) - Number(a.boot));
  const disks = storage.disks.map((disk, index) => ({
    "@type": "file",
    "@device": "disk",
    driver: driverOf(disk),
    source: { "@file": disk.path },
    target: { "@dev": targetName(index), "@bus": "virtio" },
    iotune: ioTune(limits),
    serial: disk.name.slice(0, SERIAL_LENGTH),
    boot: { "@order": bootOrder.indexOf(disk) + 1 },
    ...bus(isMicroVm),
  }));
  const seed = {
    "@type": "file",
    "@device": "disk",
    driver: { "@name": "qemu", "@type": "raw" },
    source: { "@file": storage.seed },
    target: { "@dev": targetName(disks.length), "@bus": "virtio" },
    readonly: true,
    ...bus(isMicroVm),
  };
  const own: XmlTree[] = storage.seed === null ? disks : [...disks, seed];
  const place = (index: number) => ({
    target: targetName(own.length + index),
    address: isMicroVm ? MMIO_ADDRESS : null,
    ioTune: ioTune(limits),
  });
  return [...own, ...extras.disks.map((disk, index) => diskElement(disk, place(index)))];
}

/** A guest whose disk fails or has no room left is stopped where it is, and can go on once there is room. */
function driverOf({ format, type }: PreparedDisk): XmlTree {
  return { "@name": "qemu", "@type": format, "@error_policy": "stop", "@discard": type === "ssd" ? "unmap" : null };
}

/** The quota is for all processors of the domain together, as it is for a container. */
function cpuTune(limits: ResourceLimits | undefined): XmlTree | null {
  if (limits === undefined || limits.cpuQuota === 0) return null;
  return { global_period: limits.cpuPeriod || DEFAULT_CPU_PERIOD_US, global_quota: limits.cpuQuota };
}

export const DEFAULT_CPU_PERIOD_US = 100_000;

function ioTune(limits: ResourceLimits | undefined): XmlTree | null {
  if (limits === undefined || (limits.ioReadBps === 0 && limits.ioWriteBps === 0)) return null;
  return {
    read_bytes_sec: limits.ioReadBps || null,
    write_bytes_sec: limits.ioWriteBps || null,
    group_name: THROTTLE_GROUP,
  };
}

export function cpuElement({ cpu: { mode, model } }: Pick<MachineAbilities, "cpu">): XmlTree {
  return { "@mode": mode, model };
}

/** A microVM has no PCI. */
function bus(isMicroVm: boolean): { address?: XmlTree } {
  return isMicroVm ? { address: MMIO_ADDRESS } : {};
}
