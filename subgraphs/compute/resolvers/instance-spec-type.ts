import { Field, Int, ObjectType } from "type-graphql";
import { Int64 } from "../../kit/graphql/scalars.ts";
import type { DiskType, Firmware, InstanceSpec } from "../services/instance-types.ts";
import { FirmwareEnum } from "./enums.ts";

@ObjectType("DiskSpec", { description: "A disk of a VM or microVM.", simpleResolvers: true })
export class DiskSpecType {
  @Field(() => String, { description: "Unique in its instance." })
  name!: string;

  @Field(() => Int64, { nullable: true, description: "Its virtual size, in bytes; null: that of its image." })
  sizeBytes!: number | null;

  @Field(() => String, { nullable: true, description: '"ssd" or "hdd"; null: the host\'s default.' })
  type!: DiskType | null;

  @Field(() => Boolean, { description: "It carries the instance's image." })
  boot!: boolean;
}

@ObjectType("NetworkSpec", { description: "How an instance is connected.", simpleResolvers: true })
export class NetworkSpecType {
  @Field(() => String, { description: 'The name of a network on the host; "none" is no network.' })
  networkId!: string;

  @Field(() => String, { nullable: true, description: "A subnet of that network, such as 192.168.122.0/24." })
  subnetId!: string | null;

  @Field(() => [String], { description: "VM and MICROVM: names of nwfilters on the host, or of groups in its configuration." })
  securityGroups!: string[];

  @Field(() => Boolean, { description: "A second interface on the network that the host's configuration names as public." })
  assignPublicIp!: boolean;
}

@ObjectType("AttachedVolume", { description: "A volume of a storage pool, as a disk of an instance.", simpleResolvers: true })
export class AttachedVolumeType {
  @Field(() => String, { description: "Unique among the instance's disks and volumes: the disk's serial number in the guest." })
  name!: string;

  @Field(() => String)
  pool!: string;

  @Field(() => String)
  volume!: string;

  @Field(() => Boolean)
  readOnly!: boolean;
}

@ObjectType("NetworkInterface", { description: "A network interface beside the first one.", simpleResolvers: true })
export class NetworkInterfaceType {
  @Field(() => String, { description: "Unique in its instance." })
  name!: string;

  @Field(() => NetworkSpecType)
  network!: NetworkSpecType;
}

@ObjectType("VolumeMount", { description: "Something of the host inside a container.", simpleResolvers: true })
export class VolumeMountType {
  @Field(() => String, { description: "A volume's name, or a path of the host under a root that its configuration allows." })
  name!: string;

  @Field(() => String, { description: "Where it is seen in the container." })
  mountPath!: string;

  @Field(() => Boolean)
  readOnly!: boolean;
}

@ObjectType("ResourceLimits", { description: "Bounds of what an instance may use; 0 is none.", simpleResolvers: true })
export class ResourceLimitsType {
  @Field(() => Int64, { description: "Microseconds of CPU per period." })
  cpuQuota!: number;

  @Field(() => Int64, { description: "Microseconds." })
  cpuPeriod!: number;

  @Field(() => Int64, { description: "Bytes." })
  memoryLimit!: number;

  @Field(() => Int64, { description: "Bytes of memory and swap together." })
  memorySwap!: number;

  @Field(() => Int64, { description: "Bytes per second." })
  ioReadBps!: number;

  @Field(() => Int64, { description: "Bytes per second." })
  ioWriteBps!: number;
}

/** `userData` is resolved: see instance-fields.ts. */
@ObjectType("CloudInit", { description: "First-boot configuration of a VM whose image has cloud-init.", simpleResolvers: true })
export class CloudInitType {
  @Field(() => [String], { description: "OpenSSH public keys for the image's default user." })
  sshAuthorizedKeys!: string[];

  instanceId!: string;
}

/** `env` is resolved: see instance-fields.ts. */
@ObjectType("InstanceSpec", { description: "What an instance is made of.", simpleResolvers: true })
export class InstanceSpecType {
  @Field(() => String, { nullable: true, description: "A name or a URL." })
  image!: string | null;

  @Field(() => Int)
  cpuCores!: number;

  @Field(() => Int64, { description: "In bytes." })
  memoryBytes!: number;

  @Field(() => [DiskSpecType], { description: "VM and MICROVM." })
  disks!: DiskSpecType[];

  @Field(() => NetworkSpecType)
  network!: NetworkSpecType;

  @Field(() => String, { nullable: true, description: "VM and MICROVM: a kernel of the host's image store, which is booted directly." })
  kernel!: string | null;

  @Field(() => String, { nullable: true })
  initrd!: string | null;

  @Field(() => String, { nullable: true })
  kernelArgs!: string | null;

  @Field(() => [String], { description: "CONTAINER: in place of the image's entry point." })
  command!: string[];

  @Field(() => [String], { description: "CONTAINER: the command's arguments." })
  args!: string[];

  @Field(() => [VolumeMountType], { description: "CONTAINER." })
  volumeMounts!: VolumeMountType[];

  @Field(() => [AttachedVolumeType], { description: "VM and MICROVM." })
  volumes!: AttachedVolumeType[];

  @Field(() => [NetworkInterfaceType], { description: "VM and MICROVM: those beside the first." })
  interfaces!: NetworkInterfaceType[];

  @Field(() => ResourceLimitsType, { nullable: true, description: "Null: none." })
  limits!: ResourceLimitsType | null;

  @Field(() => FirmwareEnum)
  firmware!: Firmware;

  @Field(() => CloudInitType, { nullable: true })
  cloudInit!: CloudInitType | null;

  instanceId!: string;
}

/** A spec as GraphQL shows it. `instanceId`: whose secrets its fields lead to. */
export function toSpecType(spec: InstanceSpec, instanceId: string): InstanceSpecType {
  return {
    ...spec,
    disks: spec.disks.map((disk) => ({ ...disk, sizeBytes: disk.sizeBytes === 0 ? null : disk.sizeBytes })),
    // Events of earlier versions have neither.
    volumes: spec.volumes ?? [],
    interfaces: spec.interfaces ?? [],
    cloudInit: spec.cloudInit && { ...spec.cloudInit, instanceId },
    instanceId,
  };
}
