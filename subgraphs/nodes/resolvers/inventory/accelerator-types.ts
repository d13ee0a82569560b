import "reflect-metadata";
import { Field, Float, ID, Int, ObjectType } from "type-graphql";
import { DateTime, Int64 } from "../../../kit/graphql/scalars.ts";
import type { AcceleratorVendorName } from "../../services/inventory/views/enum-names.ts";
import { AcceleratorVendorEnum } from "./enums.ts";
import { UnavailableValueObject } from "./unavailable-type.ts";

@ObjectType("AcceleratorProcess", { description: "A program that uses an accelerator.", simpleResolvers: true })
class AcceleratorProcessObject {
  @Field(() => Int, { description: "Its number on the host." })
  pid!: number;

  @Field(() => String, { nullable: true })
  name?: string | null;

  @Field(() => Int64, { nullable: true, description: "Of the accelerator's memory, in bytes." })
  memoryBytes?: number | null;
}

@ObjectType("AcceleratorUsage", { description: "What an accelerator does now, as its vendor's program says.", simpleResolvers: true })
class AcceleratorUsageObject {
  @Field(() => DateTime, { nullable: true, description: "When it was read on the host." })
  observedAt!: Date | null;

  @Field(() => Int64, { nullable: true, description: "In bytes." })
  memoryUsedBytes?: number | null;

  @Field(() => Float, { nullable: true, description: "Of its time, 0–100." })
  utilizationPercent?: number | null;

  @Field(() => Float, { nullable: true, description: "Of the time of its memory's bus, 0–100." })
  memoryUtilizationPercent?: number | null;

  @Field(() => Float, { nullable: true, description: "In °C." })
  temperatureCelsius?: number | null;

  @Field(() => Float, { nullable: true, description: "In watts." })
  powerWatts?: number | null;

  @Field(() => Float, { nullable: true, description: "In watts." })
  powerLimitWatts?: number | null;

  @Field(() => Int64, { nullable: true, description: "Memory errors that were repaired, since the driver was loaded." })
  eccCorrectedErrors?: number | null;

  @Field(() => Int64, { nullable: true, description: "Memory errors that were not repaired, since the driver was loaded." })
  eccUncorrectedErrors?: number | null;

  @Field(() => String, { nullable: true, description: 'As the vendor\'s program says it: "OK", "Warning", "Alarm".' })
  health?: string | null;

  @Field(() => [AcceleratorProcessObject])
  processes!: AcceleratorProcessObject[];
}

@ObjectType("NodeAccelerator", {
  description: "A GPU or another accelerator of a host, as its vendor's program tells of it.",
  simpleResolvers: true,
})
export class NodeAcceleratorObject {
  @Field(() => ID, { description: "Unique on the host and stable: the vendor's UUID or serial, else the PCI address." })
  id!: string;

  @Field(() => AcceleratorVendorEnum, { nullable: true })
  vendor!: AcceleratorVendorName | null;

  @Field(() => Int, { nullable: true, description: "The vendor's own number." })
  index?: number | null;

  @Field(() => String, { nullable: true })
  model?: string | null;

  @Field(() => String, { nullable: true })
  uuid?: string | null;

  @Field(() => String, { nullable: true })
  serial?: string | null;

  @Field(() => String, { nullable: true, description: "By which `pciDevices` has it." })
  pciAddress?: string | null;

  @Field(() => String, { nullable: true })
  driverVersion?: string | null;

  @Field(() => String, { nullable: true })
  firmwareVersion?: string | null;

  @Field(() => Int64, { nullable: true, description: "In bytes." })
  memoryTotalBytes?: number | null;

  @Field(() => Int, { nullable: true, description: "The NUMA node that it is near to." })
  numaNode?: number | null;

  @Field(() => Boolean, { description: "The vendor's program was read by rules that were tried on no real capture of this vendor." })
  experimental!: boolean;

  @Field(() => [String], { description: "Parts of one card that are used apart (NVIDIA MIG)." })
  partitions!: string[];

  @Field(() => AcceleratorUsageObject, {
    nullable: true,
    description: "Read from the host for this request. Null in events, and where it could not be read: `unavailable` says why.",
  })
  usage!: AcceleratorUsageObject | null;

  @Field(() => [UnavailableValueObject], { description: "Why values are null; of the usage only where this request asked for it." })
  unavailable!: UnavailableValueObject[];
}

@ObjectType("AcceleratorLink", { description: "How two accelerators of a host are connected.", simpleResolvers: true })
export class AcceleratorLinkObject {
  @Field(() => ID, { description: "Of an accelerator." })
  from!: string;

  @Field(() => ID, { description: "Of another one." })
  to!: string;

  @Field(() => String, { description: '"NVLink", "HCCS", "PCIe", "RoCE", "xGMI", "MLU-Link" or "SYS".' })
  type!: string;

  @Field(() => Int, { nullable: true, description: "How many side by side." })
  lanes?: number | null;

  @Field(() => Float, { nullable: true, description: "One way, all lanes together, in GB/s (10⁹ bytes)." })
  bandwidthGigabytesPerSecond?: number | null;

  @Field(() => String, { description: 'As the vendor\'s program writes it: "NV18", "PIX", "SYS".' })
  raw!: string;
}
