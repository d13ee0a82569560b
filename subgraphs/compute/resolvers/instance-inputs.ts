import { Field, ID, InputType, Int } from "type-graphql";
import { toStringMap } from "../../kit/graphql/key-values.ts";
import { Int64 } from "../../kit/graphql/scalars.ts";
import { KeyValueInput } from "../../kit/graphql/shared-types.ts";
import type { RawCreation } from "../services/instance-input.ts";
import type { InstanceType, PlacementStrategy } from "../services/instance-types.ts";
import { InstanceTypeEnum, PlacementStrategyEnum } from "./enums.ts";
import { InstanceSpecInput, toRawSpec } from "./instance-spec-input.ts";

@InputType("CreateInstanceInput")
export class CreateInstanceInput {
  @Field(() => String, { description: "1–253 characters; need not be unique." })
  name!: string;

  @Field(() => InstanceTypeEnum)
  type!: InstanceType;

  @Field(() => InstanceSpecInput)
  spec!: InstanceSpecInput;

  @Field(() => [KeyValueInput], { nullable: true })
  labels?: KeyValueInput[] | null;

  @Field(() => [KeyValueInput], { nullable: true })
  annotations?: KeyValueInput[] | null;

  @Field(() => ID, { nullable: true, description: "Taken where the instance fits there; NOT_FOUND where there is no such node." })
  preferredNodeId?: string | null;

  @Field(() => String, { nullable: true, description: "Only nodes of this region." })
  region?: string | null;

  @Field(() => String, { nullable: true, description: "Only nodes of this zone." })
  zone?: string | null;

  @Field(() => [KeyValueInput], { nullable: true, description: "Only nodes with all of these labels." })
  nodeLabels?: KeyValueInput[] | null;

  @Field(() => String, {
    nullable: true,
    description: "The key of one of the instance's own labels: not on a node that has an instance with the same value of it.",
  })
  antiAffinityLabel?: string | null;

  @Field(() => PlacementStrategyEnum, { nullable: true, description: "As configured (placement.strategy) where left out." })
  placementStrategy?: PlacementStrategy | null;

  @Field(() => Boolean, { nullable: true, description: "Made and left STOPPED." })
  stopped?: boolean | null;

  @Field(() => String, {
    nullable: true,
    description:
      "Up to 128 characters. A call with one that was used before answers with the instance that it made, as it is now, and makes none.",
  })
  clientRequestId?: string | null;
}

@InputType("DeleteInstanceInput")
export class DeleteInstanceInput {
  @Field(() => ID)
  instanceId!: string;

  @Field(() => Boolean, {
    nullable: true,
    description: "Killed rather than shut down first. Where its node has left the fleet: deleted at once.",
  })
  force?: boolean | null;
}

@InputType("StartInstanceInput")
export class StartInstanceInput {
  @Field(() => ID)
  instanceId!: string;
}

@InputType("StopInstanceInput")
export class StopInstanceInput {
  @Field(() => ID)
  instanceId!: string;

  @Field(() => Boolean, { nullable: true, description: "Powered off, or killed, at once." })
  force?: boolean | null;

  @Field(() => Int, {
    nullable: true,
    description: "How long the guest has to shut down before it is powered off: at most 3600 s, 60 where left out or 0.",
  })
  timeoutSeconds?: number | null;
}

@InputType("RestartInstanceInput")
export class RestartInstanceInput {
  @Field(() => ID)
  instanceId!: string;

  @Field(() => Boolean, { nullable: true, description: "Powered off, or killed, instead of shut down." })
  force?: boolean | null;
}

@InputType("SuspendInstanceInput")
export class SuspendInstanceInput {
  @Field(() => ID)
  instanceId!: string;

  @Field(() => Boolean, {
    nullable: true,
    description: "VM and microVM: its memory is written to its host's disk and freed there; its reservation stays.",
  })
  toDisk?: boolean | null;
}

@InputType("ResumeInstanceInput")
export class ResumeInstanceInput {
  @Field(() => ID)
  instanceId!: string;
}

@InputType("DiskSizeInput")
export class DiskSizeInput {
  @Field(() => String)
  name!: string;

  @Field(() => Int64, { description: "In bytes; a disk only grows." })
  sizeBytes!: number;
}

@InputType("ResizeInstanceInput", {
  description: "What is left out stays. A VM or MICROVM must be STOPPED, a container STOPPED or RUNNING.",
})
export class ResizeInstanceInput {
  @Field(() => ID)
  instanceId!: string;

  @Field(() => Int, { nullable: true })
  cpuCores?: number | null;

  @Field(() => Int64, { nullable: true, description: "In bytes." })
  memoryBytes?: number | null;

  @Field(() => [DiskSizeInput], { nullable: true, description: "Those that are not named stay." })
  disks?: DiskSizeInput[] | null;
}

@InputType("AdoptInstanceInput")
export class AdoptInstanceInput {
  @Field(() => ID, { description: "Of an instance with managed: false." })
  instanceId!: string;
}

export function toRawCreation({ spec, labels, annotations, nodeLabels, ...input }: CreateInstanceInput): RawCreation {
  return {
    ...input,
    spec: toRawSpec(spec),
    labels: toStringMap("labels", labels) ?? null,
    annotations: toStringMap("annotations", annotations) ?? null,
    nodeLabels: toStringMap("nodeLabels", nodeLabels) ?? null,
  };
}
