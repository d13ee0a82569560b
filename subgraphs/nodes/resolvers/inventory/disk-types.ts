import "reflect-metadata";
import { Field, Int, ObjectType } from "type-graphql";
import { DateTime, Int64 } from "../../../kit/graphql/scalars.ts";
import type { DiskHealthName } from "../../services/inventory/views/enum-names.ts";
import { DiskHealthEnum } from "./enums.ts";

@ObjectType("SmartHealth", {
  description: "What a disk says of itself, by smartctl. Read at intervals; a disk that sleeps is not woken.",
  simpleResolvers: true,
})
class SmartHealthObject {
  @Field(() => DiskHealthEnum, { nullable: true, description: "Null where it is not known." })
  health!: DiskHealthName | null;

  @Field(() => [String], { description: "Why it is WARNING or FAILED: sentences." })
  problems!: string[];

  @Field(() => Int, { nullable: true, description: "In °C." })
  temperatureCelsius?: number | null;

  @Field(() => Int64, { nullable: true, description: "In hours." })
  powerOnHours?: number | null;

  @Field(() => Int64, { nullable: true, description: "How often it was switched on." })
  powerCycles?: number | null;

  @Field(() => Int, { nullable: true, description: "Of an SSD: how much of its endurance is used, in percent; can be above 100." })
  wearPercent?: number | null;

  @Field(() => Int64, { nullable: true, description: "Since it was made, in bytes." })
  bytesRead?: number | null;

  @Field(() => Int64, { nullable: true, description: "Since it was made, in bytes." })
  bytesWritten?: number | null;

  @Field(() => Int64, { nullable: true, description: "How often data could not be kept right." })
  mediaErrors?: number | null;

  @Field(() => Int64, { nullable: true, description: "Entries of its error log." })
  errorLogEntries?: number | null;

  @Field(() => DateTime, { nullable: true })
  checkedAt!: Date | null;
}

@ObjectType("FileSystemUse", { description: "What a disk or a partition holds.", simpleResolvers: true })
class FileSystemUseObject {
  @Field(() => String, { description: '"ext4", "xfs", "LVM2_member", "crypto_LUKS", "swap", …' })
  type!: string;

  @Field(() => String, { nullable: true })
  label?: string | null;

  @Field(() => String, { nullable: true })
  uuid?: string | null;

  @Field(() => [String])
  mountPoints!: string[];

  @Field(() => Int64, { nullable: true, description: "Of a mounted one, in bytes." })
  totalBytes?: number | null;

  @Field(() => Int64, { nullable: true, description: "Of a mounted one, in bytes." })
  availableBytes?: number | null;
}

@ObjectType("DiskPartition", { description: "A partition of a disk.", simpleResolvers: true })
class DiskPartitionObject {
  @Field(() => String, { description: '"sda1", "nvme0n1p2".' })
  name!: string;

  @Field(() => Int64, { description: "In bytes." })
  sizeBytes!: number;

  @Field(() => String, { nullable: true, description: "As the partition table has it." })
  type?: string | null;

  @Field(() => String, { nullable: true })
  label?: string | null;

  @Field(() => String, { nullable: true })
  uuid?: string | null;

  @Field(() => FileSystemUseObject, { nullable: true, description: "Null where it holds none." })
  fileSystem!: FileSystemUseObject | null;
}

@ObjectType("NodeDisk", { description: "A physical disk of a host, from lsblk, sysfs and smartctl.", simpleResolvers: true })
export class NodeDiskObject {
  @Field(() => String, { description: '"sda", "nvme0n1", "vda".' })
  name!: string;

  @Field(() => String, { nullable: true, description: '"nvme", "sata", "sas", "scsi", "usb", "virtio", "mmc", …' })
  transport!: string | null;

  @Field(() => String, { nullable: true, description: '"6.0 Gb/s", "8.0 GT/s x4".' })
  interfaceSpeed?: string | null;

  @Field(() => Int64, { description: "In bytes." })
  sizeBytes!: number;

  @Field(() => Int, { nullable: true, description: "In bytes." })
  logicalBlockBytes?: number | null;

  @Field(() => Int, { nullable: true, description: "In bytes." })
  physicalBlockBytes?: number | null;

  @Field(() => String, { nullable: true })
  model?: string | null;

  @Field(() => String, { nullable: true })
  serial?: string | null;

  @Field(() => String, { nullable: true, description: "Its revision." })
  firmware?: string | null;

  @Field(() => String, { nullable: true, description: "World Wide Name." })
  wwn?: string | null;

  @Field(() => Boolean, { nullable: true, description: "True: it spins. False: flash." })
  rotational?: boolean | null;

  @Field(() => Int, { nullable: true, description: "Rotations per minute, where smartctl tells." })
  rotationRpm?: number | null;

  @Field(() => Boolean)
  removable!: boolean;

  @Field(() => Boolean)
  readOnly!: boolean;

  @Field(() => String, { nullable: true, description: "Of its controller." })
  pciAddress?: string | null;

  @Field(() => SmartHealthObject, { nullable: true, description: "Null where it was not read; `inventoryStatus` says why." })
  smart!: SmartHealthObject | null;

  @Field(() => [DiskPartitionObject])
  partitions!: DiskPartitionObject[];

  @Field(() => FileSystemUseObject, { nullable: true, description: "Of a disk without partitions." })
  fileSystem!: FileSystemUseObject | null;

  @Field(() => [String], { description: "Names of storage pools that use it or a part of it." })
  pools!: string[];

  @Field(() => Boolean, { description: "It, or a part of it, holds the host's own system: it is never given away." })
  system!: boolean;
}
