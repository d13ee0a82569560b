import { Directive, Field, ID, Int, ObjectType } from "type-graphql";
import { connectionType } from "../../kit/graphql/connection.ts";
import { toKeyValues } from "../../kit/graphql/key-values.ts";
import { DateTime } from "../../kit/graphql/scalars.ts";
import { KeyValue, WatchEventFields } from "../../kit/graphql/shared-types.ts";
import type { DesiredState, InstanceState, InstanceType, InstanceView } from "../services/instance-types.ts";
import { DesiredStateEnum, InstanceStateEnum, InstanceTypeEnum } from "./enums.ts";
import { InstanceSpecType, toSpecType } from "./instance-spec-type.ts";

/** `node` and `stats` are resolved: see instance-fields.ts and instance-stats.ts. */
@ObjectType("Instance", { description: "A VM, a microVM or a container on a node.", simpleResolvers: true })
@Directive('@key(fields: "id")')
export class InstanceObject {
  @Field(() => ID)
  id!: string;

  @Field(() => String, { description: "As its owner calls it; not unique." })
  name!: string;

  @Field(() => InstanceTypeEnum)
  type!: InstanceType;

  @Field(() => InstanceStateEnum)
  state!: InstanceState;

  @Field(() => DesiredStateEnum, { nullable: true, description: "Null where it is not managed." })
  desiredState!: DesiredState | null;

  @Field(() => String, {
    nullable: true,
    description:
      "Why the state is what it is, one word: REQUESTED, GUEST_SHUTDOWN, EXITED, CRASHED, IO_ERROR, MISSING (gone from its host), CHANGED_OUTSIDE, STOP_TIMED_OUT, NODE_GONE (its node has left the fleet), REFUSED (by its agent), or the host's own. More may come.",
  })
  stateReason!: string | null;

  @Field(() => String, { nullable: true, description: "A sentence, for people." })
  errorMessage!: string | null;

  @Field(() => String, { nullable: true, description: 'What is being done, while that takes long: "fetching the image: 42 %".' })
  activity!: string | null;

  @Field(() => Boolean, { description: "False: it was found on its host, and is not touched unless an admin adopts it." })
  managed!: boolean;

  @Field(() => ID, { description: "Of its node." })
  nodeId!: string;

  @Field(() => Int, { description: "Which placement this is; grows with each." })
  generation!: number;

  @Field(() => InstanceSpecType)
  spec!: InstanceSpecType;

  @Field(() => String, { nullable: true, description: "The first of ipAddresses." })
  ipAddress!: string | null;

  @Field(() => [String], { description: "IPv4 and IPv6, as its host knows them." })
  ipAddresses!: string[];

  @Field(() => [KeyValue])
  labels!: KeyValue[];

  @Field(() => [KeyValue])
  annotations!: KeyValue[];

  @Field(() => String, { nullable: true, description: "The domain's UUID, or the container's id; null before it is made." })
  nativeId!: string | null;

  @Field(() => Int, { nullable: true, description: "Of a container's command, when it ended." })
  exitCode!: number | null;

  @Field(() => DateTime, { nullable: true, description: "When it last started, by its host's clock." })
  startedAt!: string | null;

  @Field(() => DateTime)
  createdAt!: string;

  @Field(() => DateTime, { description: "The last change that became an event." })
  updatedAt!: string;

  @Field(() => DateTime, { nullable: true })
  deletedAt!: string | null;
}

export const InstanceConnection = connectionType(InstanceObject, "Instance");

@ObjectType("InstanceEvent", { description: "What happened to an instance.", simpleResolvers: true })
export class InstanceEventObject extends WatchEventFields {
  @Field(() => InstanceObject, { nullable: true, description: "As it was after the event; its last state on DELETED, null on BOOKMARK." })
  instance!: InstanceObject | null;
}

/** An instance as GraphQL shows it: maps as lists. */
export function toInstanceObject({ labels, annotations, spec, ...instance }: InstanceView): InstanceObject {
  return {
    ...instance,
    ipAddress: instance.ipAddresses[0] ?? null,
    spec: toSpecType(spec, instance.id),
    labels: toKeyValues(labels),
    annotations: toKeyValues(annotations),
  };
}
