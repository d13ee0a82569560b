import { Field, ID, InputType } from "type-graphql";
import { toStringMap } from "../../kit/graphql/key-values.ts";
import { KeyValueInput } from "../../kit/graphql/shared-types.ts";
import type { RawFilter } from "../services/instance-input.ts";
import type { InstanceState, InstanceType } from "../services/instance-types.ts";
import { InstanceStateEnum, InstanceTypeEnum } from "./enums.ts";

@InputType("InstanceFilter", { description: "What is null or left out does not filter." })
export class InstanceFilterInput {
  @Field(() => [ID], { nullable: true, description: "Only these, at most 1000; empty: all." })
  ids?: string[] | null;

  @Field(() => InstanceTypeEnum, { nullable: true })
  type?: InstanceType | null;

  @Field(() => InstanceStateEnum, { nullable: true, description: "DELETED: those that are still kept. Not for instanceEvents." })
  state?: InstanceState | null;

  @Field(() => ID, { nullable: true })
  nodeId?: string | null;

  @Field(() => String, { nullable: true, description: "A part of the name, upper and lower case alike." })
  name?: string | null;

  @Field(() => [KeyValueInput], { nullable: true, description: "Instances with all of these labels, at most 20." })
  labels?: KeyValueInput[] | null;

  @Field(() => Boolean, { nullable: true, description: "False: only those that were found on hosts and are not managed." })
  managed?: boolean | null;

  @Field(() => Boolean, { nullable: true, description: "True: deleted ones too, while they are kept. Not for instanceEvents." })
  includeDeleted?: boolean | null;
}

export function toRawFilter(filter: InstanceFilterInput | null | undefined): RawFilter | null {
  return filter ? { ...filter, labels: toStringMap("filter.labels", filter.labels) ?? null } : null;
}
