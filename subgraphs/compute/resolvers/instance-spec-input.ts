import { Field, InputType, Int } from "type-graphql";
import { toStringMap } from "../../kit/graphql/key-values.ts";
import { Int64 } from "../../kit/graphql/scalars.ts";
import { KeyValueInput } from "../../kit/graphql/shared-types.ts";
import type { Firmware } from "../services/instance-types.ts";
import type { RawSpec } from "../services/spec-input.ts";
import { FirmwareEnum } from "./enums.ts";

@InputType("DiskSpecInput")
export class DiskSpecInput {
  @Field(() => String, { description: "1–63 letters, digits, '-' and '_'; unique in its instance." })
  name!: string;

  @Field(() => Int64, {
    nullable: true,
    description: "Its virtual size, in bytes, from 1 MiB; left out, a boot disk has that of its image.",
  })
  sizeBytes?: number | null;

  @Field(() => String, { nullable: true, description: '"ssd" or "hdd"; left out: the host\'s default.' })
  type?: string | null;

  @Field(() => Boolean, { nullable: true, description: "It carries the instance's image; at most one." })
  boot?: boolean | null;
}

@InputType("NetworkSpecInput")
export class NetworkSpecInput {
  @Field(() => String, {
    nullable: true,
    description: 'The name of a network on the host; "default" where left out, which works on every host. "none" is no network.',
  })
  networkId?: string | null;

  @Field(() => String, { nullable: true, description: "A subnet of that network, such as 192.168.122.0/24." })
  subnetId?: string | null;

  @Field(() => [String], {
    nullable: true,
    description: "VM and MICROVM: names of nwfilters on the host, or of groups in its configuration; at most 16.",
  })
  securityGroups?: string[] | null;

  @Field(() => Boolean, {
    nullable: true,
    description: "A second interface on the network that the host's configuration names as public.",
  })
  assignPublicIp?: boolean | null;
}

@InputType("AttachedVolumeInput", { description: "A volume of a storage pool of the instance's node, as a disk. Its life is its own." })
export class AttachedVolumeInput {
  @Field(() => String, {
    description: "1–20 letters, digits, '-' and '_'; unique among the instance's disks and volumes: the disk's serial number in the guest.",
  })
  name!: string;

  @Field(() => String)
  pool!: string;

  @Field(() => String)
  volume!: string;

  @Field(() => Boolean, { nullable: true })
  readOnly?: boolean | null;
}

@InputType("NetworkInterfaceInput", { description: "A network interface beside the first one." })
export class NetworkInterfaceInput {
  @Field(() => String, { description: "1–20 letters, digits, '-' and '_'; unique in its instance." })
  name!: string;

  @Field(() => NetworkSpecInput, { nullable: true, description: "Without assignPublicIp." })
  network?: NetworkSpecInput | null;
}

@InputType("VolumeMountInput")
export class VolumeMountInput {
  @Field(() => String, { description: "A volume's name, or a path of the host under a root that its configuration allows." })
  name!: string;

  @Field(() => String, { description: "Where it is seen in the container: an absolute path." })
  mountPath!: string;

  @Field(() => Boolean, { nullable: true })
  readOnly?: boolean | null;
}

@InputType("ResourceLimitsInput", { description: "0 or left out is no limit." })
export class ResourceLimitsInput {
  @Field(() => Int64, { nullable: true, description: "Microseconds of CPU per period." })
  cpuQuota?: number | null;

  @Field(() => Int64, { nullable: true, description: "1000–1000000 microseconds." })
  cpuPeriod?: number | null;

  @Field(() => Int64, { nullable: true, description: "Bytes." })
  memoryLimit?: number | null;

  @Field(() => Int64, { nullable: true, description: "Bytes of memory and swap together: at least memoryLimit." })
  memorySwap?: number | null;

  @Field(() => Int64, { nullable: true, description: "Bytes per second." })
  ioReadBps?: number | null;

  @Field(() => Int64, { nullable: true, description: "Bytes per second." })
  ioWriteBps?: number | null;
}

@InputType("CloudInitInput", { description: "First-boot configuration of a VM whose image has cloud-init." })
export class CloudInitInput {
  @Field(() => String, { nullable: true, description: 'As cloud-init takes it ("#cloud-config …" or "#!…"), at most 64 KiB.' })
  userData?: string | null;

  @Field(() => [String], { nullable: true, description: "OpenSSH public keys for the image's default user; at most 20." })
  sshAuthorizedKeys?: string[] | null;
}

@InputType("InstanceSpecInput", { description: "A part that the type does not have is refused." })
export class InstanceSpecInput {
  @Field(() => String, { nullable: true, description: "A name or a URL. A VM or MICROVM may do with a kernel alone." })
  image?: string | null;

  @Field(() => Int, { description: "1–1024." })
  cpuCores!: number;

  @Field(() => Int64, { description: "In bytes, from 4 MiB." })
  memoryBytes!: number;

  @Field(() => [DiskSpecInput], { nullable: true, description: "VM and MICROVM; at most 16." })
  disks?: DiskSpecInput[] | null;

  @Field(() => NetworkSpecInput, { nullable: true })
  network?: NetworkSpecInput | null;

  @Field(() => String, { nullable: true, description: "VM and MICROVM: a kernel of the host's image store, to be booted directly." })
  kernel?: string | null;

  @Field(() => String, { nullable: true, description: "With a kernel." })
  initrd?: string | null;

  @Field(() => String, { nullable: true, description: "With a kernel; at most 2048 characters." })
  kernelArgs?: string | null;

  @Field(() => [String], { nullable: true, description: "CONTAINER: in place of the image's entry point." })
  command?: string[] | null;

  @Field(() => [String], { nullable: true, description: "CONTAINER: the command's arguments." })
  args?: string[] | null;

  @Field(() => [KeyValueInput], { nullable: true, description: "At most 100 variables and 64 KiB. Shown to operators only." })
  env?: KeyValueInput[] | null;

  @Field(() => [VolumeMountInput], { nullable: true, description: "CONTAINER; at most 32." })
  volumeMounts?: VolumeMountInput[] | null;

  @Field(() => [AttachedVolumeInput], {
    nullable: true,
    description: "VM and MICROVM; at most 16. They are on one node: name it as preferredNodeId.",
  })
  volumes?: AttachedVolumeInput[] | null;

  @Field(() => [NetworkInterfaceInput], { nullable: true, description: "VM and MICROVM: those beside the first; at most 8." })
  interfaces?: NetworkInterfaceInput[] | null;

  @Field(() => ResourceLimitsInput, { nullable: true })
  limits?: ResourceLimitsInput | null;

  @Field(() => FirmwareEnum, { nullable: true, description: "VM; BIOS where left out." })
  firmware?: Firmware | null;

  @Field(() => CloudInitInput, { nullable: true, description: "VM." })
  cloudInit?: CloudInitInput | null;
}

export function toRawSpec({ env, ...spec }: InstanceSpecInput): RawSpec {
  return { ...spec, env: toStringMap("spec.env", env) ?? null };
}
