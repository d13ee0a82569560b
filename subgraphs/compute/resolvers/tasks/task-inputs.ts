import { Field, ID, InputType } from "type-graphql";
import type { TaskKind, TaskState } from "../../services/tasks/task-types.ts";
import { TaskKindEnum, TaskStateEnum } from "./task-type.ts";

@InputType("TaskFilter", { description: "What is null or left out does not filter." })
export class TaskFilterInput {
  @Field(() => [ID], { nullable: true, description: "Only these, at most 1000; empty: all." })
  ids?: string[] | null;

  @Field(() => TaskKindEnum, { nullable: true })
  kind?: TaskKind | null;

  @Field(() => TaskStateEnum, { nullable: true })
  state?: TaskState | null;

  @Field(() => Boolean, { nullable: true, description: "True: only those that have not ended; false: only those that have." })
  active?: boolean | null;

  @Field(() => ID, { nullable: true })
  instanceId?: string | null;

  @Field(() => ID, { nullable: true })
  nodeId?: string | null;

  @Field(() => ID, { nullable: true })
  groupId?: string | null;
}

@InputType("CancelTaskInput")
export class CancelTaskInput {
  @Field(() => ID)
  taskId!: string;
}
