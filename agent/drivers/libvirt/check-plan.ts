import { Firmware, type InstanceSpec, InstanceType } from "../../../schema/generated/proto/hypervisor/v1/compute.ts";
import type { InstancePlan } from "../instance-driver.ts";
import { invalid, precondition } from "../shared/refusals.ts";
import type { HostAbilities, TypeProblem } from "./abilities.ts";
import { commandLine } from "./domain-xml.ts";
import { checkSpecExtras } from "./volumes/extras-check.ts";
import { isXmlText } from "./xml.ts";

/** What Linux keeps of its command line on x86, less the end. */
const MAX_COMMAND_LINE_BYTES = 2047;
/** What libvirt and Linux' scheduler take, in microseconds. */
const PERIOD_US = { least: 1000, most: 1_000_000 };
const QUOTA_US = { least: 1000, most: 17_592_186_044_415 };
/** A machine does not come up with less. */
const LEAST_MEMORY_BYTES = 16 * 1024 ** 2;

/**
 * Refuses what a VM or microVM cannot be or have, so that nothing of a specification is ignored: INVALID_ARGUMENT for what no host can do,
 * each with a reason and its field. Networks, security groups and storage have checks of their own.
 */
export function checkPlan(plan: InstancePlan): void {
  const { type, spec } = plan;
  const isMicroVm = type === InstanceType.MICROVM;
  if (!isMicroVm && type !== InstanceType.VM) throw invalid("TypeUnsupported", "type", "libvirt runs VMs and microVMs only.");
  const kind = isMicroVm ? "microVM" : "VM";
  const only = (isAsked: boolean, reason: string, field: string, instead: string) => {
    if (isAsked) throw invalid(reason, field, `A ${kind} has no ${field.slice("spec.".length)}: ${instead}`);
  };
  only(spec.command.length > 0, "CommandUnsupported", "spec.command", "its image or kernel says what runs in it.");
  only(spec.args.length > 0, "ArgsUnsupported", "spec.args", "use spec.kernelArgs for its kernel.");
  only(spec.volumeMounts.length > 0, "VolumeMountsUnsupported", "spec.volumeMounts", "give it disks.");
  if (isMicroVm) {
    only(spec.firmware === Firmware.UEFI, "FirmwareUnsupported", "spec.firmware", "it boots its kernel directly.");
    // libvirt finds the disk to throttle by a name that disks without PCI do not have.
    const limited = ["ioReadBps", "ioWriteBps"] as const;
    const io = limited.find((name) => (spec.limits?.[name] ?? 0) !== 0);
    only(io !== undefined, "IoLimitUnsupported", `spec.limits.${io}`, "libvirt cannot limit its disks; a VM's it can.");
    if (spec.kernel === "") {
      throw invalid("KernelRequired", "spec.kernel", "A microVM boots a kernel directly: name one in spec.kernel.");
    }
  }
  if (spec.kernel === "") {
    const needsKernel = "needs spec.kernel: without one the boot disk's own boot loader decides.";
    if (spec.initrd !== "") throw invalid("KernelRequired", "spec.initrd", `spec.initrd ${needsKernel}`);
    if (spec.kernelArgs !== "") throw invalid("KernelRequired", "spec.kernelArgs", `spec.kernelArgs ${needsKernel}`);
  }
  checkKernelArgs(spec);
  checkSizes(spec);
  checkLimits(spec);
  checkSpecExtras(spec);
}

/** Refuses what this host cannot do: FAILED_PRECONDITION. */
export function checkAbilities(plan: InstancePlan, abilities: HostAbilities): void {
  const { type, spec } = plan;
  const isMicroVm = type === InstanceType.MICROVM;
  const machine = isMicroVm ? abilities.microVm : abilities.vm;
  if (machine === null) throw unsupported((isMicroVm ? abilities.microVmProblem : abilities.vmProblem) ?? NO_MACHINE);
  if (spec.firmware === Firmware.UEFI && !machine.uefi) {
    const message = "This host has no UEFI firmware for guests: install it (Debian: ovmf; Fedora: edk2-ovmf), or leave spec.firmware out.";
    throw precondition("FirmwareMissing", message, { field: "spec.firmware" });
  }
  if (spec.cpuCores > machine.maxCpus) {
    const message = `A guest of this host's ${machine.name} machine has at most ${machine.maxCpus} CPUs; ${spec.cpuCores} were asked for.`;
    throw precondition("TooManyCpus", message, { field: "spec.cpuCores", most: machine.maxCpus });
  }
  if (Buffer.byteLength(commandLine(plan, abilities)) > MAX_COMMAND_LINE_BYTES) throw kernelArgsTooLong();
}

const NO_MACHINE: TypeProblem = { reason: "MachineMissing", message: "QEMU on this host has no machine for this type of instance." };

export function unsupported({ reason, message }: TypeProblem) {
  return precondition(reason, message, { field: "type" });
}

function checkKernelArgs({ kernelArgs }: InstanceSpec): void {
  if (Buffer.byteLength(kernelArgs) > MAX_COMMAND_LINE_BYTES) throw kernelArgsTooLong();
  if (!isXmlText(kernelArgs) || /[\r\n\t]/.test(kernelArgs)) {
    throw invalid("KernelArgsInvalid", "spec.kernelArgs", "spec.kernelArgs is one line without control characters.");
  }
}

function kernelArgsTooLong() {
  return invalid(
    "KernelArgsTooLong",
    "spec.kernelArgs",
    `spec.kernelArgs has more than the ${MAX_COMMAND_LINE_BYTES} bytes that Linux reads.`,
  );
}

function checkSizes({ cpuCores, memoryBytes }: InstanceSpec): void {
  if (!Number.isInteger(cpuCores) || cpuCores < 1) {
    throw invalid("CpuCoresInvalid", "spec.cpuCores", `${cpuCores} CPUs are no machine: ask for 1 or more.`);
  }
  if (!Number.isSafeInteger(memoryBytes) || memoryBytes < LEAST_MEMORY_BYTES) {
    throw invalid(
      "MemoryInvalid",
      "spec.memoryBytes",
      `${memoryBytes} bytes of memory are too few: ask for ${LEAST_MEMORY_BYTES} or more.`,
    );
  }
}

function checkLimits({ limits }: InstanceSpec): void {
  if (limits === undefined) return;
  const { cpuQuota, cpuPeriod, memoryLimit, memorySwap, ioReadBps, ioWriteBps } = limits;
  const memory = "a VM has spec.memoryBytes, and the host cannot take away what it gave without breaking the guest.";
  if (memoryLimit !== 0) throw invalid("MemoryLimitUnsupported", "spec.limits.memoryLimit", `No spec.limits.memoryLimit: ${memory}`);
  if (memorySwap !== 0) throw invalid("MemoryLimitUnsupported", "spec.limits.memorySwap", `No spec.limits.memorySwap: ${memory}`);
  if (cpuPeriod !== 0 && cpuQuota === 0) {
    throw invalid("CpuLimitInvalid", "spec.limits.cpuPeriod", "spec.limits.cpuPeriod says nothing without spec.limits.cpuQuota.");
  }
  if (cpuQuota !== 0) within("CpuLimitInvalid", "spec.limits.cpuQuota", cpuQuota, QUOTA_US);
  if (cpuPeriod !== 0) within("CpuLimitInvalid", "spec.limits.cpuPeriod", cpuPeriod, PERIOD_US);
  const bytesPerSecond = { least: 1, most: Number.MAX_SAFE_INTEGER };
  if (ioReadBps !== 0) within("IoLimitInvalid", "spec.limits.ioReadBps", ioReadBps, bytesPerSecond);
  if (ioWriteBps !== 0) within("IoLimitInvalid", "spec.limits.ioWriteBps", ioWriteBps, bytesPerSecond);
}

function within(reason: string, field: string, value: number, { least, most }: { least: number; most: number }): void {
  if (!Number.isSafeInteger(value) || value < least || value > most) {
    throw invalid(reason, field, `${field} is ${value}; from ${least} to ${most} are possible.`);
  }
}
