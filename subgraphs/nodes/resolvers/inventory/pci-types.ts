import "reflect-metadata";
import { Field, Float, Int, ObjectType } from "type-graphql";
import { Int64 } from "../../../kit/graphql/scalars.ts";
import type { PciKindName } from "../../services/inventory/views/enum-names.ts";
import { DeviceUserObject, PassthroughObject, SriovObject } from "./device-types.ts";
import { PciKindEnum } from "./enums.ts";

@ObjectType("PciLink", { description: "A device's PCI Express link.", simpleResolvers: true })
class PciLinkObject {
  @Field(() => Float, { nullable: true, description: "In GT/s: 2.5, 5, 8, 16, 32, 64. Idle devices go down to save power." })
  speedGts?: number | null;

  @Field(() => Float, { nullable: true, description: "In GT/s." })
  maxSpeedGts?: number | null;

  @Field(() => Int, { nullable: true, description: "Lanes in use." })
  width?: number | null;

  @Field(() => Int, { nullable: true, description: "Lanes that the device has." })
  maxWidth?: number | null;
}

@ObjectType("NvmeNamespace", { description: "A namespace of an NVMe controller.", simpleResolvers: true })
class NvmeNamespaceObject {
  @Field(() => Int, { description: "Its number." })
  id!: number;

  @Field(() => String, { description: 'The block device: "nvme0n1", by which `disks` has it.' })
  disk!: string;

  @Field(() => Int64, { description: "In bytes." })
  sizeBytes!: number;

  @Field(() => Int, { description: "Of one logical block, in bytes." })
  blockBytes!: number;
}

@ObjectType("NvmeController", { description: "What an NVMe controller says of itself.", simpleResolvers: true })
class NvmeControllerObject {
  @Field(() => String, { nullable: true })
  model?: string | null;

  @Field(() => String, { nullable: true })
  serial?: string | null;

  @Field(() => String, { nullable: true, description: "Its revision." })
  firmware?: string | null;

  @Field(() => [NvmeNamespaceObject])
  namespaces!: NvmeNamespaceObject[];
}

@ObjectType("PciDevice", { description: "A PCI device of a host, from sysfs; names are those of pci.ids.", simpleResolvers: true })
export class PciDeviceObject {
  /** Whose it is; not told. */
  nodeId!: string;

  @Field(() => String, { description: 'Domain, bus, device, function: "0000:01:00.0".' })
  address!: string;

  @Field(() => PciKindEnum, { nullable: true })
  kind!: PciKindName | null;

  @Field(() => Int, { description: "24 bits: class, subclass, programming interface. 0x030000 is a VGA controller." })
  classId!: number;

  @Field(() => String, { nullable: true })
  className?: string | null;

  @Field(() => Int, { description: "16 bits, as in pci.ids." })
  vendorId!: number;

  @Field(() => String, { nullable: true })
  vendorName?: string | null;

  @Field(() => Int, { description: "16 bits, as in pci.ids." })
  deviceId!: number;

  @Field(() => String, { nullable: true, description: "The model." })
  deviceName?: string | null;

  @Field(() => Int, { nullable: true, description: "16 bits, as in pci.ids." })
  subsystemVendorId?: number | null;

  @Field(() => Int, { nullable: true, description: "16 bits, as in pci.ids." })
  subsystemDeviceId?: number | null;

  @Field(() => String, { nullable: true })
  subsystemName?: string | null;

  @Field(() => Int, { nullable: true, description: "8 bits." })
  revision?: number | null;

  @Field(() => String, { nullable: true, description: "The kernel driver that is bound to it; null for none." })
  driver?: string | null;

  @Field(() => Int, {
    nullable: true,
    description: "The NUMA node that it is near to. Null where the host does not tell, or is not divided.",
  })
  numaNode?: number | null;

  @Field(() => PciLinkObject, { nullable: true, description: "Null for a device without one." })
  link?: PciLinkObject | null;

  @Field(() => Int, { nullable: true, description: "Number of the IOMMU group; null without an IOMMU." })
  iommuGroup?: number | null;

  @Field(() => [String], { description: "Addresses of the whole group, this one included: they are given away together." })
  iommuGroupMembers!: string[];

  @Field(() => PassthroughObject, { nullable: true })
  passthrough?: PassthroughObject | null;

  @Field(() => DeviceUserObject, { nullable: true, description: "The guest that has it. Null while none has." })
  user!: DeviceUserObject | null;

  @Field(() => SriovObject, { nullable: true, description: "Of a physical function that can have virtual ones." })
  sriov!: SriovObject | null;

  @Field(() => String, { nullable: true, description: "Of a virtual function: the address of its physical one." })
  physicalFunction!: string | null;

  @Field(() => [String], { description: "Network interfaces that it provides." })
  interfaces!: string[];

  @Field(() => NvmeControllerObject, { nullable: true, description: "Of an NVMe controller." })
  nvme?: NvmeControllerObject | null;

  @Field(() => String, { nullable: true, description: "The address of the bridge above it; null at a root bus." })
  parentAddress!: string | null;
}
