import "reflect-metadata";
import { Field, Float, Int, ObjectType } from "type-graphql";
import { DateTime, Int64 } from "../../../kit/graphql/scalars.ts";
import { CpuVulnerabilityObject, NodeCpuObject } from "./cpu-types.ts";
import { UnavailableValueObject } from "./unavailable-type.ts";

const NOW = "Read from the host for this request.";

@ObjectType("NodeMemory", { description: "A host's memory, from /proc/meminfo.", simpleResolvers: true })
export class NodeMemoryObject {
  @Field(() => Int64, { nullable: true, description: "What the kernel manages, in bytes: a little less than what is installed." })
  totalBytes!: number | null;

  @Field(() => Int64, { nullable: true, description: `What new programs could get without swapping (MemAvailable), in bytes. ${NOW}` })
  availableBytes!: number | null;

  @Field(() => Int64, { nullable: true, description: `Total less available, in bytes. ${NOW}` })
  usedBytes!: number | null;

  @Field(() => Float, { nullable: true, description: `Used of total, 0–100, to two decimals. ${NOW}` })
  usedPercent!: number | null;

  @Field(() => Int64, { nullable: true, description: "In bytes; 0 without swap." })
  swapTotalBytes!: number | null;

  @Field(() => Int64, { nullable: true, description: `In bytes. ${NOW}` })
  swapUsedBytes!: number | null;
}

@ObjectType("NumaDistance", { description: "How far one NUMA node's memory is from another's CPUs.", simpleResolvers: true })
export class NumaDistanceObject {
  @Field(() => Int, { description: "The other NUMA node." })
  nodeId!: number;

  @Field(() => Int, { description: "Relative latency by the firmware's SLIT: 10 is local, 20 twice as far." })
  distance!: number;
}

@ObjectType("NumaNode", { description: "CPUs and memory that are near each other, from sysfs.", simpleResolvers: true })
export class NumaNodeObject {
  @Field(() => Int, { description: "The kernel's number." })
  id!: number;

  @Field(() => [Int], { nullable: true, description: "Numbers of its logical CPUs; empty for memory without CPUs." })
  cpus!: number[] | null;

  @Field(() => String, { nullable: true, description: 'The same as ranges: "0-3,8-11".' })
  cpuList!: string | null;

  @Field(() => Int64, { nullable: true, description: "In bytes." })
  memoryTotalBytes!: number | null;

  @Field(() => Int64, { nullable: true, description: `Unused, in bytes; caches are not counted as free. ${NOW}` })
  memoryFreeBytes!: number | null;

  @Field(() => [NumaDistanceObject], { nullable: true, description: "To every NUMA node, itself included." })
  distances!: NumaDistanceObject[] | null;
}

@ObjectType("HugePages", { description: "The pool of huge pages of one size, from sysfs.", simpleResolvers: true })
export class HugePagesObject {
  @Field(() => Int64, { description: "Of one page, in bytes: 2097152, 1073741824, …" })
  sizeBytes!: number;

  @Field(() => Int64, { description: "Pages that are set aside; 0 where the size is offered but not in use." })
  total!: number;

  @Field(() => Int64, { nullable: true, description: `Pages that nobody uses. ${NOW}` })
  free!: number | null;

  @Field(() => Int64, { nullable: true, description: `Total less free, in pages. ${NOW}` })
  used!: number | null;
}

@ObjectType("NodeVirtualization", { description: "What a host can do for virtual machines.", simpleResolvers: true })
export class NodeVirtualizationObject {
  @Field(() => Boolean, { nullable: true, description: "Whether the CPU can run virtual machines (VT-x, AMD-V, EL2), by its features." })
  hardware!: boolean | null;

  @Field(() => String, { nullable: true, description: '"VT-x", "AMD-V"; null where there is none, or it has no name.' })
  technology!: string | null;

  @Field(() => Boolean, { nullable: true, description: "EPT or NPT, by the CPU's features." })
  nestedPaging!: boolean | null;

  @Field(() => Boolean, { nullable: true, description: "Whether an IOMMU (VT-d, AMD-Vi, SMMU) is in use: devices can be passed through." })
  iommu!: boolean | null;

  @Field(() => Boolean, {
    nullable: true,
    description: "Whether virtual machines may run virtual machines, by the setting of the KVM module.",
  })
  nested!: boolean | null;
}

@ObjectType("NodeFirmware", { description: "What a host boots by, from DMI.", simpleResolvers: true })
export class NodeFirmwareObject {
  @Field(() => String, { nullable: true, description: '"BIOS" or "UEFI": how the host was booted.' })
  type!: string | null;

  @Field(() => String, { nullable: true })
  vendor?: string | null;

  @Field(() => String, { nullable: true })
  version?: string | null;

  @Field(() => String, { nullable: true, description: 'As DMI writes it: "04/01/2014".' })
  releaseDate?: string | null;
}

@ObjectType("NodeBoard", { description: "A host's main board, from DMI.", simpleResolvers: true })
export class NodeBoardObject {
  @Field(() => String, { nullable: true })
  vendor?: string | null;

  @Field(() => String, { nullable: true })
  name?: string | null;

  @Field(() => String, { nullable: true })
  version?: string | null;

  @Field(() => String, { nullable: true, description: "Only root can read it." })
  serial?: string | null;
}

@ObjectType("NodeSystem", { description: "A host as a product, from DMI.", simpleResolvers: true })
export class NodeSystemObject {
  @Field(() => String, { nullable: true })
  vendor?: string | null;

  @Field(() => String, { nullable: true })
  product?: string | null;

  @Field(() => String, { nullable: true })
  version?: string | null;

  @Field(() => String, { nullable: true, description: "Only root can read it." })
  serial?: string | null;

  @Field(() => String, { nullable: true, description: "Only root can read it." })
  uuid?: string | null;
}

@ObjectType("NodeHardware", {
  description:
    "What a host is made of. What does not change from second to second is stored, and shown while the host is down, too; the rest is read from the host when it is asked for.",
  simpleResolvers: true,
})
export class NodeHardwareObject {
  @Field(() => NodeCpuObject)
  cpu!: NodeCpuObject;

  @Field(() => NodeMemoryObject)
  memory!: NodeMemoryObject;

  @Field(() => [NumaNodeObject], {
    nullable: true,
    description: "By number; one where the host is not divided. Null where the kernel does not tell.",
  })
  numa!: NumaNodeObject[] | null;

  @Field(() => [HugePagesObject], { nullable: true, description: "One pool per size that the kernel offers, smallest first." })
  hugePages!: HugePagesObject[] | null;

  @Field(() => NodeVirtualizationObject)
  virtualization!: NodeVirtualizationObject;

  @Field(() => [CpuVulnerabilityObject], { nullable: true, description: "By name. Null where the kernel does not tell." })
  vulnerabilities!: CpuVulnerabilityObject[] | null;

  @Field(() => NodeFirmwareObject, { nullable: true, description: "Null where the host has no DMI." })
  firmware!: NodeFirmwareObject | null;

  @Field(() => NodeBoardObject, { nullable: true, description: "Null where the host has no DMI." })
  board!: NodeBoardObject | null;

  @Field(() => NodeSystemObject, { nullable: true, description: "Null where the host has no DMI." })
  system!: NodeSystemObject | null;

  @Field(() => DateTime, { nullable: true, description: "When the stored part was read on the host; null where nothing was reported yet." })
  observedAt!: Date | null;

  @Field(() => [UnavailableValueObject], {
    description: "Why values are null: the stored ones, and those that this request asked the host for.",
  })
  unavailable!: UnavailableValueObject[];
}
