import { expect, test } from "vitest";
import { checkAbilities, checkPlan } from "../../../../../agent/drivers/libvirt/check-plan.ts";
import { Firmware, InstanceType } from "../../../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { ABILITIES, instancePlan } from "../../../../support/instance-plans.ts";

const MICROVM = { type: InstanceType.MICROVM };
const KERNEL = { kernel: "linux" };
type Spec = Parameters<typeof instancePlan>[0];

test.each<[string, string, Spec, object?]>([
  ["CommandUnsupported", "spec.command", { command: ["sh"] }],
  ["ArgsUnsupported", "spec.args", { args: ["-c"] }],
  ["VolumeMountsUnsupported", "spec.volumeMounts", { volumeMounts: [{ name: "data", mountPath: "/data" }] }],
  ["KernelRequired", "spec.kernel", {}, MICROVM],
  ["FirmwareUnsupported", "spec.firmware", { ...KERNEL, firmware: Firmware.UEFI }, MICROVM],
  ["KernelRequired", "spec.initrd", { initrd: "initrd" }],
  ["KernelRequired", "spec.kernelArgs", { kernelArgs: "quiet" }],
  ["KernelArgsInvalid", "spec.kernelArgs", { ...KERNEL, kernelArgs: "a\nb" }],
  ["KernelArgsInvalid", "spec.kernelArgs", { ...KERNEL, kernelArgs: "a\u0000b" }],
  ["KernelArgsTooLong", "spec.kernelArgs", { ...KERNEL, kernelArgs: "a".repeat(2048) }],
  ["CpuCoresInvalid", "spec.cpuCores", { cpuCores: 0 }],
  ["MemoryInvalid", "spec.memoryBytes", { memoryBytes: 1024 }],
  ["MemoryLimitUnsupported", "spec.limits.memoryLimit", { limits: { memoryLimit: 1 } }],
  ["MemoryLimitUnsupported", "spec.limits.memorySwap", { limits: { memorySwap: 1 } }],
  ["CpuLimitInvalid", "spec.limits.cpuPeriod", { limits: { cpuPeriod: 100_000 } }],
  ["CpuLimitInvalid", "spec.limits.cpuQuota", { limits: { cpuQuota: 999 } }],
  ["CpuLimitInvalid", "spec.limits.cpuPeriod", { limits: { cpuQuota: 5000, cpuPeriod: 1_000_001 } }],
  ["IoLimitInvalid", "spec.limits.ioReadBps", { limits: { ioReadBps: -1 } }],
  ["IoLimitUnsupported", "spec.limits.ioWriteBps", { ...KERNEL, limits: { ioWriteBps: 1 } }, MICROVM],
  ["TypeUnsupported", "type", {}, { type: InstanceType.CONTAINER }],
])("%s: %s is refused by its name", (reason, field, spec, more = {}) => {
  expect(() => checkPlan(instancePlan(spec, more))).toThrow(
    expect.objectContaining({ code: "INVALID_ARGUMENT", reason, details: { field } }),
  );
});

test("what a VM and a microVM can have is not refused", () => {
  const spec = { ...KERNEL, initrd: "initrd", kernelArgs: "console=ttyS0 é", env: { A: "1" }, limits: { cpuQuota: 50_000 } };
  expect(() => checkPlan(instancePlan({ limits: { ioReadBps: 1, ioWriteBps: 1 } }))).not.toThrow();
  for (const more of [MICROVM, { type: InstanceType.VM }]) {
    expect(() => checkPlan(instancePlan(spec, more))).not.toThrow();
    expect(() => checkAbilities(instancePlan(spec, more), ABILITIES)).not.toThrow();
  }
});

test("a host refuses by name what it has not got", () => {
  const refusal = (plan: ReturnType<typeof instancePlan>, abilities = ABILITIES) => {
    try {
      checkAbilities(plan, abilities);
      return null;
    } catch (error) {
      return error;
    }
  };
  const noUefi = { ...ABILITIES, vm: { ...ABILITIES.vm!, uefi: false } };
  const noMicroVm = { ...ABILITIES, microVm: null, microVmProblem: { reason: "MachineMissing", message: "none" } };
  expect(refusal(instancePlan({ firmware: Firmware.UEFI }), noUefi)).toMatchObject({
    code: "FAILED_PRECONDITION",
    reason: "FirmwareMissing",
  });
  expect(refusal(instancePlan({ cpuCores: 256 }))).toMatchObject({ reason: "TooManyCpus", details: { most: 255 } });
  expect(refusal(instancePlan(KERNEL, MICROVM), noMicroVm)).toMatchObject({ reason: "MachineMissing", message: "none" });
  const emulated = { ...ABILITIES, accelerator: "qemu" as const };
  expect(refusal(instancePlan({ ...KERNEL, kernelArgs: "a".repeat(2047) }, MICROVM), emulated)).toMatchObject({
    reason: "KernelArgsTooLong",
  });
});
