import { Directive, Field, ID, ObjectType, registerEnumType } from "type-graphql";
import { connectionType } from "../../../kit/graphql/connection.ts";
import { enumOf } from "../../../kit/graphql/enum-of.ts";
import { toKeyValues } from "../../../kit/graphql/key-values.ts";
import { DateTime, Int64 } from "../../../kit/graphql/scalars.ts";
import { KeyValue, WatchEventFields } from "../../../kit/graphql/shared-types.ts";
import type { JsonValue } from "../../../kit/store/json.ts";
import { TASK_KINDS, TASK_STATES, type TaskKind, type TaskState, type TaskView } from "../../services/tasks/task-types.ts";

export const TaskKindEnum = enumOf(TASK_KINDS);
registerEnumType(TaskKindEnum, { name: "TaskKind", description: "Work that takes long." });

export const TaskStateEnum = enumOf(TASK_STATES);
registerEnumType(TaskStateEnum, {
  name: "TaskState",
  valuesConfig: {
    QUEUED: { description: "Nobody has begun with it." },
    RUNNING: { description: "It was begun; between two tries it has the error of the last one." },
    SUCCEEDED: { description: "It is done." },
    FAILED: { description: "It will not be done: see error." },
    CANCELLED: { description: "Somebody asked for its end." },
  },
});

@ObjectType("TaskError", { description: "Why a task, or its last try, failed.", simpleResolvers: true })
export class TaskErrorType {
  @Field(() => String, { description: "As an error's extensions.code." })
  code!: string;

  @Field(() => String, { nullable: true, description: "As an error's extensions.reason." })
  reason!: string | null;

  @Field(() => String, { description: "For people." })
  message!: string;
}

/** `node` and `instance` are resolved: see task-queries.ts. */
@ObjectType("Task", { description: "Work that takes long: it goes on whatever becomes of who asked for it.", simpleResolvers: true })
@Directive('@key(fields: "id")')
export class TaskObject {
  @Field(() => ID)
  id!: string;

  @Field(() => TaskKindEnum)
  kind!: TaskKind;

  @Field(() => TaskStateEnum)
  state!: TaskState;

  @Field(() => String, {
    nullable: true,
    description: 'What it is doing, in one word: "downloading", "memory"; "waiting" between two tries.',
  })
  status!: string | null;

  @Field(() => Int64, { nullable: true, description: "Bytes that are done; null where that cannot be told." })
  currentBytes!: number | null;

  @Field(() => Int64, { nullable: true, description: "Bytes in all; null where that cannot be told." })
  totalBytes!: number | null;

  @Field(() => TaskErrorType, { nullable: true, description: "Of a failure, or of the last try of one that is tried again." })
  error!: TaskErrorType | null;

  @Field(() => ID, { nullable: true, description: "Of the instance that it works for." })
  instanceId!: string | null;

  @Field(() => ID, { nullable: true, description: "Of the node where it works; the destination of a migration." })
  nodeId!: string | null;

  @Field(() => ID, { nullable: true, description: "Equal for tasks that were asked for together." })
  groupId!: string | null;

  @Field(() => [KeyValue], { description: "What was asked for; what is no text is JSON." })
  input!: KeyValue[];

  @Field(() => Boolean, { description: "Somebody asked for its end; it may still succeed." })
  cancelRequested!: boolean;

  @Field(() => String, { description: "Who asked for it." })
  createdBy!: string;

  @Field(() => DateTime)
  createdAt!: string;

  @Field(() => DateTime, { nullable: true })
  startedAt!: string | null;

  @Field(() => DateTime, { nullable: true })
  finishedAt!: string | null;
}

export const TaskConnection = connectionType(TaskObject, "Task");

@ObjectType("TaskEvent", { description: "What happened to a task. DELETED: it is no longer kept.", simpleResolvers: true })
export class TaskEventObject extends WatchEventFields {
  @Field(() => TaskObject, { nullable: true, description: "As it was after the event; its last state on DELETED, null on BOOKMARK." })
  task!: TaskObject | null;
}

@ObjectType("CancelTaskPayload", { simpleResolvers: true })
export class CancelTaskPayload {
  @Field(() => TaskObject, { description: "Its events tell the end." })
  task!: TaskObject;
}

/** A task as GraphQL shows it. */
export function toTaskObject({ input, errorCode, errorReason, errorMessage, ...task }: TaskView): TaskObject {
  const text = (value: JsonValue | undefined) => (typeof value === "string" ? value : JSON.stringify(value));
  const given = Object.entries(input).filter(([, value]) => value !== null && value !== undefined);
  return {
    ...task,
    error: errorCode === null ? null : { code: errorCode, reason: errorReason, message: errorMessage ?? "" },
    input: toKeyValues(Object.fromEntries(given.map(([key, value]) => [key, text(value)]))),
  };
}
