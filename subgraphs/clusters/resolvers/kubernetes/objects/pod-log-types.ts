import { ArgsType, Field, ID, Int, ObjectType } from "type-graphql";
import type { RawPodLogRequest } from "../../../services/kubernetes/objects/pod-log-input.ts";
import type { PodLog, PodLogBatch } from "../../../services/kubernetes/objects/pod-logs.ts";

const CONTAINER = "May be left out where the pod has only one.";
const TAIL_LINES = "At most so many of the newest: 0–5,000, default 200.";

@ArgsType()
export class PodLogArgs implements RawPodLogRequest {
  @Field(() => String)
  namespace!: string;

  @Field(() => String, { description: "The pod's name." })
  pod!: string;

  @Field(() => String, { nullable: true, description: CONTAINER })
  container?: string | null;

  @Field(() => Int, { nullable: true, description: TAIL_LINES })
  tailLines?: number | null;

  @Field(() => Int, { nullable: true, description: "Only of the last so many seconds, by the node's clock." })
  sinceSeconds?: number | null;

  @Field(() => Boolean, { nullable: true, description: "Each line begins with its time, in RFC 3339 and with nanoseconds, and a space." })
  timestamps?: boolean | null;
}

@ArgsType()
export class PodLogReadArgs extends PodLogArgs {
  @Field(() => Boolean, { nullable: true, description: "Of the container's run before the present one." })
  previous?: boolean | null;
}

@ArgsType()
export class PodLogFollowArgs extends PodLogArgs {
  @Field(() => ID, { description: "Of the Kubernetes cluster." })
  clusterId!: string;
}

@ObjectType("KubernetesPodLog", { description: "The newest lines of a container's log.", simpleResolvers: true })
export class KubernetesPodLogType implements PodLog {
  @Field(() => [String], { description: "The oldest first. At most 65,536 characters of each, and 1,048,576 in all." })
  lines!: string[];

  @Field(() => Boolean, { description: "Older lines than these, or the ends of long ones, were left out for that." })
  truncated!: boolean;
}

@ObjectType("KubernetesPodLogBatch", { description: "Lines that came together, the oldest first.", simpleResolvers: true })
export class KubernetesPodLogBatchType implements PodLogBatch {
  @Field(() => [String], { description: "At most 65,536 characters of each." })
  lines!: string[];

  @Field(() => Boolean, { description: "The ends of long lines were left out." })
  truncated!: boolean;

  @Field(() => Boolean, { description: "The log is over: nothing comes behind this." })
  ended!: boolean;

  @Field(() => String, {
    nullable: true,
    description: "Why it ended: ContainerTerminated, PodDeleted, or LogEnded where the cluster does not tell. Null while it goes on.",
  })
  reason!: string | null;
}
