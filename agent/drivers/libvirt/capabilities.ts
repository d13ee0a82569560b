import { attribute, element, elements, parseXml, text, type XmlElement } from "./xml.ts";

/** What libvirt says of the host and of its emulators (`connectGetCapabilities`). */
export interface HostCapabilities {
  hostUuid: string;
  arch: string;
  /** Tells processors apart: model, family, microcode. */
  cpu: string;
  /** The rate of the time-stamp counter in kHz; null where it is not told. */
  tscKhz: number | null;
  /** The emulator for guests of the host's own architecture; null where there is none. */
  guest: GuestCapabilities | null;
}

export interface GuestCapabilities {
  emulator: string;
  /** With their other names, such as q35 for pc-q35-7.2. */
  machines: ReadonlySet<string>;
  /** "qemu" is emulation; "kvm" is listed where /dev/kvm can be opened, which does not say that it works. */
  accelerators: ReadonlySet<string>;
}

/** What a machine can be (`connectGetDomainCapabilities`). */
export interface MachineCapabilities {
  emulator: string;
  maxCpus: number;
  uefi: boolean;
  cpuModes: ReadonlySet<string>;
}

export function readCapabilities(xml: string): HostCapabilities {
  const capabilities = parseXml(xml, "capabilities");
  const host = element(capabilities, "host");
  const cpu = element(host, "cpu");
  const arch = text(element(cpu, "arch"));
  const tsc = elements(cpu, "counter").find((counter) => attribute(counter, "name") === "tsc");
  const tscKhz = Math.round(Number(attribute(tsc ?? null, "frequency")) / 1000);
  const signature = element(cpu, "signature");
  return {
    hostUuid: text(element(host, "uuid")),
    arch,
    cpu: [
      text(element(cpu, "vendor")),
      text(element(cpu, "model")),
      ...["family", "model", "stepping"].map((name) => attribute(signature, name)),
      attribute(element(cpu, "microcode"), "version"),
    ].join("/"),
    tscKhz: tscKhz > 0 ? tscKhz : null,
    guest: readGuest(capabilities, arch),
  };
}

function readGuest(capabilities: XmlElement, wanted: string): GuestCapabilities | null {
  for (const guest of elements(capabilities, "guest")) {
    if (text(element(guest, "os_type")) !== "hvm") continue;
    for (const arch of elements(guest, "arch").filter((one) => attribute(one, "name") === wanted)) {
      return {
        emulator: text(element(arch, "emulator")),
        machines: new Set(elements(arch, "machine").map(text)),
        accelerators: new Set(elements(arch, "domain").map((domain) => attribute(domain, "type"))),
      };
    }
  }
  return null;
}

export function readDomainCapabilities(xml: string): MachineCapabilities {
  const capabilities = parseXml(xml, "domainCapabilities");
  const firmware = elements(element(capabilities, "os"), "enum").find((one) => attribute(one, "name") === "firmware");
  const modes = elements(element(capabilities, "cpu"), "mode").filter((mode) => attribute(mode, "supported") === "yes");
  return {
    emulator: text(element(capabilities, "path")),
    maxCpus: Number(attribute(element(capabilities, "vcpu"), "max")) || 1,
    uefi: elements(firmware ?? null, "value").some((value) => text(value) === "efi"),
    cpuModes: new Set(modes.map((mode) => attribute(mode, "name"))),
  };
}
