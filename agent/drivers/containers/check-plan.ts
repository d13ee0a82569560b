import { Firmware, type InstanceSpec, InstanceType } from "../../../schema/generated/proto/hypervisor/v1/compute.ts";
import type { InstancePlan } from "../instance-driver.ts";
import { invalid } from "../shared/refusals.ts";

const INSTANCE_ID = /^inst-[a-z0-9]{1,32}$/;

interface Refusal {
  field: string;
  reason: string;
  isAsked: (spec: InstanceSpec) => boolean;
  /** Why, and what to do instead. */
  message: string;
}

/** What a container cannot have, whatever the host. */
const REFUSALS: readonly Refusal[] = [
  {
    field: "spec.disks",
    reason: "DisksUnsupported",
    isAsked: ({ disks }) => disks.length > 0,
    message: "A container has no disks: its image and its volume mounts are all it writes to.",
  },
  {
    field: "spec.kernel",
    reason: "KernelUnsupported",
    isAsked: ({ kernel }) => kernel !== "",
    message: "A container runs on its host's kernel: leave spec.kernel out, or make a microVM.",
  },
  {
    field: "spec.initrd",
    reason: "KernelUnsupported",
    isAsked: ({ initrd }) => initrd !== "",
    message: "A container runs on its host's kernel: leave spec.initrd out, or make a microVM.",
  },
  {
    field: "spec.kernelArgs",
    reason: "KernelUnsupported",
    isAsked: ({ kernelArgs }) => kernelArgs !== "",
    message: "A container runs on its host's kernel: leave spec.kernelArgs out and use spec.args for its command.",
  },
  {
    field: "spec.firmware",
    reason: "FirmwareUnsupported",
    isAsked: ({ firmware }) => firmware === Firmware.UEFI,
    message: "A container boots nothing: leave spec.firmware out.",
  },
  {
    field: "spec.cloudInit",
    reason: "CloudInitUnsupported",
    isAsked: ({ cloudInit }) => cloudInit !== undefined,
    message: "A container has no first boot: use spec.env, spec.command and spec.args.",
  },
  {
    field: "spec.network.securityGroups",
    reason: "SecurityGroupsUnsupported",
    isAsked: ({ network }) => (network?.securityGroups.length ?? 0) > 0,
    message: "Container engines have no security groups: put it on a network of its own.",
  },
  {
    field: "spec.network.assignPublicIp",
    reason: "PublicIpUnsupported",
    isAsked: ({ network }) => network?.assignPublicIp === true,
    message: "A container gets addresses of its networks only.",
  },
  {
    field: "spec.volumes",
    reason: "VolumesUnsupported",
    isAsked: ({ volumes }) => volumes.length > 0,
    message: "A container has no disks: use spec.volumeMounts.",
  },
  {
    field: "spec.interfaces",
    reason: "InterfacesUnsupported",
    isAsked: ({ interfaces }) => interfaces.length > 0,
    message: "A container has the interface of its network only.",
  },
];

/**
 * Refuses what no container can be or have, so that nothing of a specification is ignored: INVALID_ARGUMENT with a reason and the field.
 * Image, limits, mounts and networks have checks of their own.
 */
export function checkPlan({ instanceId, type, spec }: InstancePlan): void {
  if (!INSTANCE_ID.test(instanceId)) throw invalid("InstanceIdInvalid", "instanceId", `${JSON.stringify(instanceId)} is no instance id.`);
  if (type !== InstanceType.CONTAINER) throw invalid("TypeUnsupported", "type", "A container engine runs containers only.");
  for (const { field, reason, isAsked, message } of REFUSALS) if (isAsked(spec)) throw invalid(reason, field, message);
  for (const [name, value] of Object.entries(spec.env)) {
    if (name === "" || /[=\0]/.test(name)) {
      throw invalid("EnvInvalid", "spec.env", `${JSON.stringify(name.slice(0, 100))} cannot be a variable's name: it is empty or has '='.`);
    }
    if (value.includes("\0")) throw invalid("EnvInvalid", "spec.env", `The value of ${name.slice(0, 100)} holds a NUL character.`);
  }
  for (const field of ["command", "args"] as const) {
    if (spec[field].some((word) => word.includes("\0")))
      throw invalid("CommandInvalid", `spec.${field}`, "A word of it holds a NUL character.");
  }
  if (spec.command[0] === "") throw invalid("CommandInvalid", "spec.command", "Its first word is the program: it cannot be empty.");
}
