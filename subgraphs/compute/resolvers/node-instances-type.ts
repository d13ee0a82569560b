import { Field, Int, ObjectType } from "type-graphql";
import { Int64 } from "../../kit/graphql/scalars.ts";
import type { InstanceType } from "../services/instance-types.ts";
import { InstanceTypeEnum } from "./enums.ts";

@ObjectType("NodeInstanceTotals", {
  description: "A node's instances in numbers. Deleted ones count nowhere; one that is stopped keeps what it holds.",
  simpleResolvers: true,
})
export class NodeInstanceTotalsObject {
  @Field(() => Int)
  managed!: number;

  @Field(() => Int, { description: "Found on the host, and not touched." })
  unmanaged!: number;

  @Field(() => Int, { description: "Of both." })
  running!: number;

  @Field(() => Int, { description: "Promised to managed instances, as the three that follow." })
  reservedCpuCores!: number;

  @Field(() => Int64)
  reservedMemoryBytes!: number;

  @Field(() => Int64, { description: "The virtual sizes of their disks; one with its image's size counts nothing." })
  reservedDiskBytes!: number;

  @Field(() => Int)
  reservedGpuCount!: number;
}

@ObjectType("InstanceTypeSupport", { description: "Whether a host runs instances of a type.", simpleResolvers: true })
export class InstanceTypeSupportObject {
  @Field(() => InstanceTypeEnum)
  type!: InstanceType;

  @Field(() => Boolean)
  supported!: boolean;

  @Field(() => String, { nullable: true, description: "One word, where it is not: NoDriver, DriverUnreachable, NoEmulator, …" })
  reason!: string | null;

  @Field(() => String, { nullable: true, description: "Why, and what to install or start." })
  message!: string | null;

  @Field(() => String, { nullable: true, description: 'What runs it: "libvirt 9.0.0, QEMU 7.2.22, tcg".' })
  engine!: string | null;
}
