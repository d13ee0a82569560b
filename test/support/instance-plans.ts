import type { InstancePlan } from "../../agent/drivers/instance-driver.ts";
import type { HostAbilities } from "../../agent/drivers/libvirt/abilities.ts";
import { InstanceSpec, InstanceType } from "../../schema/generated/proto/hypervisor/v1/compute.ts";

export const MIB = 1024 ** 2;

/** A small VM, but for what is said. */
export function instancePlan(spec: Parameters<typeof InstanceSpec.fromPartial>[0] = {}, more: Partial<InstancePlan> = {}): InstancePlan {
  return {
    instanceId: "inst-0123456789abcdef",
    nodeId: "node-1",
    generation: 1,
    name: "web",
    type: InstanceType.VM,
    labels: {},
    annotations: {},
    ...more,
    spec: InstanceSpec.fromPartial({ cpuCores: 1, memoryBytes: 128 * MIB, ...spec }),
  };
}

/** A host whose KVM works. */
export const ABILITIES: HostAbilities = {
  engine: "libvirt 9.0.0, QEMU 7.2.22, kvm",
  arch: "x86_64",
  emulator: "/usr/bin/qemu-system-x86_64",
  accelerator: "kvm",
  tscKhz: 2_596_150,
  vm: { name: "q35", maxCpus: 255, uefi: true, cpu: { mode: "host-passthrough", model: null } },
  vmProblem: null,
  microVm: { name: "microvm", maxCpus: 255, uefi: false, cpu: { mode: "host-passthrough", model: null } },
  microVmProblem: null,
};

const NASTY = [
  "&",
  "<",
  ">",
  '"',
  "'",
  "]]>",
  "<!--",
  "-->",
  "&amp;",
  "&#10;",
  "&copy;",
  "<?x",
  "%s",
  "\\",
  " ",
  "  ",
  "\n",
  "=",
  "{",
  "constructor",
];
/** The first of a hundred characters: ASCII, Latin, Greek, Arabic, CJK, private use, emoji. */
const BLOCKS = [0x20, 0xa0, 0x370, 0x620, 0x4e00, 0xe000, 0x1_f600];

/** Texts that break what is put together by hand: markup, quotes, blanks, references, every plane of Unicode. */
export function randomText(random: () => number, maxLength = 40): string {
  const oneOf = <T>(values: readonly T[]) => values[Math.floor(random() * values.length)] as T;
  const piece = () => (random() < 0.5 ? oneOf(NASTY) : String.fromCodePoint(oneOf(BLOCKS) + Math.floor(random() * 95)));
  return Array.from({ length: 1 + Math.floor(random() * maxLength) }, piece).join("");
}
