import { InstanceType } from "../../../schema/generated/proto/hypervisor/v1/compute.ts";
import type { LibvirtClient } from "../../libvirt/client.ts";
import type { TypeSupport } from "../instance-driver.ts";
import type { Accelerator, BootProbe } from "./boot-probe.ts";
import {
  type GuestCapabilities,
  type HostCapabilities,
  type MachineCapabilities,
  readCapabilities,
  readDomainCapabilities,
} from "./capabilities.ts";

/** What this host can do for guests, as far as it was tried. */
export interface HostAbilities {
  /** "libvirt 9.0.0, QEMU 7.2.22, kvm". */
  engine: string;
  arch: string;
  emulator: string;
  /** A domain's type: kvm, or emulation. */
  accelerator: Accelerator;
  tscKhz: number | null;
  vm: MachineAbilities | null;
  vmProblem: TypeProblem | null;
  microVm: MachineAbilities | null;
  microVmProblem: TypeProblem | null;
}

export interface MachineAbilities {
  name: "q35" | "pc" | "microvm";
  maxCpus: number;
  uefi: boolean;
  cpu: CpuChoice;
}

/** A domain's CPU: the mode, and for "custom" the model. */
export interface CpuChoice {
  mode: string;
  model: string | null;
}

/** Why instances of a type cannot run: one word, and what to do about it. */
export interface TypeProblem {
  reason: string;
  message: string;
}

/** Beyond it a machine needs an IOMMU that remaps interrupts. */
const MOST_CPUS = 255;
const INSTALL_QEMU =
  "Install QEMU and libvirt's driver for it (Debian: libvirt-daemon-driver-qemu qemu-system-x86; Fedora: libvirt-daemon-driver-qemu qemu-kvm), and restart libvirt.";

/** Asks libvirt, and tries the accelerator. Errors are the client's; a host without QEMU is no error. */
export async function readAbilities(client: LibvirtClient, probe: BootProbe, signal: AbortSignal): Promise<HostAbilities> {
  const options = { signal };
  const { type } = await client.call("connectGetType", {}, options);
  const { libVer } = await client.call("connectGetLibVersion", {}, options);
  const libvirt = `libvirt ${versionText(libVer)}`;
  if (type !== "QEMU") return without(libvirt, "NoEmulator", `libvirt's ${type} driver makes no VMs: use a qemu:// URI. ${INSTALL_QEMU}`);

  const { capabilities: xml } = await client.call("connectGetCapabilities", {}, options);
  const host = readCapabilities(xml);
  const { guest } = host;
  if (guest === null) return without(libvirt, "NoEmulator", `libvirt finds no emulator for ${host.arch}. ${INSTALL_QEMU}`);
  const vmName = (["q35", "pc"] as const).find((name) => guest.machines.has(name));
  const microVmName = guest.machines.has("microvm") ? "microvm" : undefined;
  const probeMachine = vmName ?? microVmName;
  if (probeMachine === undefined) {
    return without(libvirt, "MachineMissing", `QEMU on this host (${guest.emulator}) knows none of the machines q35, pc and microvm.`);
  }

  const { hvVer } = await client.call("connectGetVersion", {}, options);
  const versions = `${libvirt}, QEMU ${versionText(hvVer)}`;
  const accelerator = await probe.accelerator({ host, guest, versions, machine: probeMachine }, signal);
  const machine = (name: MachineAbilities["name"] | undefined) => describeMachine(client, host, guest, accelerator, name, signal);
  const [vm, microVm] = [await machine(vmName), await machine(microVmName)];
  return {
    engine: `${versions}, ${accelerator === "kvm" ? "kvm" : "tcg"}`,
    arch: host.arch,
    emulator: guest.emulator,
    accelerator,
    tscKhz: host.tscKhz,
    vm,
    vmProblem:
      vm === null
        ? { reason: "MachineMissing", message: `QEMU on this host (${guest.emulator}) has neither the machine q35 nor pc.` }
        : null,
    microVm,
    microVmProblem:
      microVm === null
        ? {
            reason: "MachineMissing",
            message: `QEMU on this host (${guest.emulator}) has no machine microvm: QEMU 4.2 or later for x86 has it.`,
          }
        : null,
  };
}

export function supportOf(abilities: HostAbilities): TypeSupport[] {
  const one = (type: InstanceType, machine: MachineAbilities | null, problem: TypeProblem | null): TypeSupport => ({
    type,
    supported: machine !== null,
    reason: machine === null ? (problem?.reason ?? "") : "",
    message: machine === null ? (problem?.message ?? "") : "",
    engine: abilities.engine,
  });
  return [one(InstanceType.VM, abilities.vm, abilities.vmProblem), one(InstanceType.MICROVM, abilities.microVm, abilities.microVmProblem)];
}

/** Of both types, while libvirt cannot be asked. */
export function supportWithout(problem: TypeProblem): TypeSupport[] {
  return [InstanceType.VM, InstanceType.MICROVM].map((type) => ({ type, supported: false, ...problem, engine: "" }));
}

/** Why libvirt is not reached. A daemon whose socket is not there was not installed, or not started. */
export function unreachable(error: Error | undefined): TypeProblem {
  const cause = error?.cause instanceof Error ? error.cause : error;
  const { code, syscall } = (cause ?? {}) as { code?: unknown; syscall?: unknown };
  if (code === "ENOENT" && syscall === "connect") {
    return {
      reason: "NoDriver",
      message: `There is no libvirt on this host, or it does not run: its socket is not there. ${INSTALL_QEMU}`,
    };
  }
  const why = error === undefined ? "it has not answered yet" : error.message;
  return { reason: "DriverUnreachable", message: `libvirt cannot be reached: ${why}` };
}

async function describeMachine(
  client: LibvirtClient,
  { arch }: HostCapabilities,
  { emulator }: GuestCapabilities,
  virttype: Accelerator,
  name: MachineAbilities["name"] | undefined,
  signal: AbortSignal,
): Promise<MachineAbilities | null> {
  if (name === undefined) return null;
  const args = { emulatorbin: emulator, arch, machine: name, virttype };
  const { capabilities } = await client.call("connectGetDomainCapabilities", args, { signal });
  const read = readDomainCapabilities(capabilities);
  return { name, maxCpus: Math.min(read.maxCpus, MOST_CPUS), uefi: read.uefi, cpu: cpuChoice(read, virttype) };
}

/** All that the accelerator can give a guest. */
function cpuChoice({ cpuModes }: MachineCapabilities, accelerator: Accelerator): CpuChoice {
  const mode = (accelerator === "kvm" ? ["host-passthrough", "maximum"] : ["maximum"]).find((one) => cpuModes.has(one));
  return mode === undefined ? { mode: "custom", model: accelerator === "kvm" ? "kvm64" : "qemu64" } : { mode, model: null };
}

function without(engine: string, reason: string, message: string): HostAbilities {
  const problem = { reason, message };
  return {
    engine,
    arch: "",
    emulator: "",
    accelerator: "qemu",
    tscKhz: null,
    vm: null,
    vmProblem: problem,
    microVm: null,
    microVmProblem: problem,
  };
}

/** libvirt's one number for a version. */
export function versionText(version: number): string {
  return `${Math.floor(version / 1_000_000)}.${Math.floor(version / 1000) % 1000}.${version % 1000}`;
}
