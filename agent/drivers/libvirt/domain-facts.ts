import { InstanceType } from "../../../schema/generated/proto/hypervisor/v1/compute.ts";
import type { InstanceMark } from "../instance-driver.ts";
import { type DeviceNote, readNotes } from "./devices/device-notes.ts";
import { readMark, readRun } from "./domain-mark.ts";
import { type DomainHostDevices, readHostDevices } from "./host-devices.ts";
import { attribute, element, elements, parseXml, text, type XmlElement } from "./xml.ts";

/** What a domain's XML says that the agent asks for again and again. */
export interface DomainFacts {
  uuid: string;
  name: string;
  mark: InstanceMark | null;
  type: InstanceType;
  cpuCores: number;
  memoryBytes: number;
  interfaces: readonly DomainInterfaceFacts[];
  hostDevices: DomainHostDevices;
  /** What was given to it of the host's devices. */
  deviceNotes: readonly DeviceNote[];
  /** Whether the guest's agent answered when this was read. */
  agentConnected: boolean;
  /** The start of the current run, where the agent noted it. */
  startedAt: Date | null;
}

export interface DomainInterfaceFacts {
  /** Lower case. */
  mac: string;
  /** The libvirt network; "" for another kind of interface. */
  network: string;
  /** "" where it has none. */
  filter: string;
}

export const AGENT_CHANNEL = "org.qemu.guest_agent.0";
const UNITS: Record<string, number> = {
  b: 1,
  bytes: 1,
  KB: 1e3,
  K: 1024,
  k: 1024,
  KiB: 1024,
  MB: 1e6,
  M: 1024 ** 2,
  MiB: 1024 ** 2,
  GB: 1e9,
  G: 1024 ** 3,
  GiB: 1024 ** 3,
  TB: 1e12,
  T: 1024 ** 4,
  TiB: 1024 ** 4,
};

/** Throws for what is no domain's XML. */
export function readDomainXml(xml: string): DomainFacts {
  const domain = parseXml(xml, "domain");
  const metadata = element(domain, "metadata");
  const devices = element(domain, "devices");
  const vcpu = element(domain, "vcpu");
  return {
    uuid: text(element(domain, "uuid")).trim(),
    name: text(element(domain, "name")),
    mark: readMark(metadata),
    type: attribute(element(domain, "os", "type"), "machine").startsWith("microvm") ? InstanceType.MICROVM : InstanceType.VM,
    cpuCores: Number(attribute(vcpu, "current") || text(vcpu)) || 0,
    memoryBytes: size(element(domain, "memory")),
    interfaces: elements(devices, "interface").map((nic) => ({
      mac: attribute(element(nic, "mac"), "address").toLowerCase(),
      network: attribute(nic, "type") === "network" ? attribute(element(nic, "source"), "network") : "",
      filter: attribute(element(nic, "filterref"), "filter"),
    })),
    hostDevices: readHostDevices(devices),
    deviceNotes: readNotes(metadata),
    agentConnected: elements(devices, "channel").some((channel) => {
      const target = element(channel, "target");
      return attribute(target, "name") === AGENT_CHANNEL && attribute(target, "state") === "connected";
    }),
    startedAt: readRun(metadata),
  };
}

function size(memory: XmlElement | null): number {
  return Number(text(memory)) * (UNITS[attribute(memory, "unit") || "KiB"] ?? 1024);
}
