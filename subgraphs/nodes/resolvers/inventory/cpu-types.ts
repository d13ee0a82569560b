import "reflect-metadata";
import { Field, Float, Int, ObjectType, registerEnumType } from "type-graphql";
import { Int64 } from "../../../kit/graphql/scalars.ts";

const NOW = "Read from the host for this request.";

export enum CpuCacheType {
  DATA = "Data",
  INSTRUCTION = "Instruction",
  UNIFIED = "Unified",
}

registerEnumType(CpuCacheType, {
  name: "CpuCacheType",
  description: "What a CPU cache holds.",
  valuesConfig: { UNIFIED: { description: "Data and instructions." } },
});

@ObjectType("CpuCache", { description: "One kind of cache of a host's CPUs.", simpleResolvers: true })
export class CpuCacheObject {
  @Field(() => Int, { description: "1, 2, 3, …: as the kernel numbers them." })
  level!: number;

  @Field(() => CpuCacheType, { nullable: true })
  type!: CpuCacheType | null;

  @Field(() => Int64, { description: "Of one instance, in bytes." })
  sizeBytes!: number;

  @Field(() => Int, { description: "How many of it the host has." })
  instances!: number;
}

@ObjectType("NodeCpu", { description: "A host's CPUs, from sysfs and /proc/cpuinfo.", simpleResolvers: true })
export class NodeCpuObject {
  @Field(() => String, { nullable: true, description: "As the CPU names itself (x86), or the name of its core design (Arm)." })
  model!: string | null;

  @Field(() => String, { nullable: true, description: "Such as GenuineIntel, AuthenticAMD, HiSilicon." })
  vendor!: string | null;

  @Field(() => String, { nullable: true, description: "As `uname -m` writes it: x86_64, aarch64." })
  architecture!: string | null;

  @Field(() => Int, { nullable: true, description: "Physical packages." })
  sockets!: number | null;

  @Field(() => Int, { nullable: true, description: "In the whole host." })
  physicalCores!: number | null;

  @Field(() => Int, { nullable: true, description: "Logical CPUs that are online, in the whole host." })
  threads!: number | null;

  @Field(() => Int, { nullable: true, description: "More than 1 with simultaneous multithreading." })
  threadsPerCore!: number | null;

  @Field(() => Float, { nullable: true, description: "Guaranteed frequency in MHz, from cpufreq or the CPU's name." })
  baseMhz!: number | null;

  @Field(() => Float, { nullable: true, description: "Highest frequency in MHz, boost included, from cpufreq." })
  maxMhz!: number | null;

  @Field(() => Float, { nullable: true, description: `The mean frequency of the logical CPUs in MHz. ${NOW}` })
  currentMhz!: number | null;

  @Field(() => String, {
    nullable: true,
    description: 'The revision of the first CPU, such as "0xd0003a5"; null where the kernel does not tell.',
  })
  microcode!: string | null;

  @Field(() => [CpuCacheObject], { nullable: true, description: "By level. Null where the kernel does not tell." })
  caches!: CpuCacheObject[] | null;
}

@ObjectType("CpuVulnerability", { description: "One of the CPUs' known weaknesses, as the kernel lists it.", simpleResolvers: true })
export class CpuVulnerabilityObject {
  @Field(() => String, { description: 'As sysfs names it: "meltdown", "spectre_v2", …' })
  name!: string;

  @Field(() => String, { description: 'The kernel\'s sentence: "Not affected", "Mitigation: PTI", "Vulnerable".' })
  status!: string;

  @Field(() => Boolean, { description: "Whether the host is open to it." })
  vulnerable!: boolean;
}
