import "reflect-metadata";
import { BigIntType } from "@mikro-orm/core";
import { Entity, PrimaryKey, Property } from "@mikro-orm/decorators/legacy";
import type { JsonObject } from "../../kit/store/json.ts";
import type { TaskKind, TaskState } from "../services/tasks/task-types.ts";

/** Work that takes long. One replica at a time has the claim on it; ended ones stay for a while. */
@Entity({ tableName: "task" })
export class Task {
  @PrimaryKey({ type: "string" })
  id!: string;

  @Property({ type: "string" })
  kind!: TaskKind;

  @Property({ type: "string" })
  state!: TaskState;

  @Property({ type: "string", nullable: true })
  status!: string | null;

  @Property({ type: new BigIntType("number"), nullable: true })
  currentBytes!: number | null;

  @Property({ type: new BigIntType("number"), nullable: true })
  totalBytes!: number | null;

  @Property({ type: "string", nullable: true })
  errorCode!: string | null;

  @Property({ type: "string", nullable: true })
  errorReason!: string | null;

  @Property({ type: "text", nullable: true })
  errorMessage!: string | null;

  @Property({ type: "string", nullable: true })
  instanceId!: string | null;

  @Property({ type: "string", nullable: true })
  nodeId!: string | null;

  @Property({ type: "string", nullable: true })
  groupId!: string | null;

  @Property({ type: "json" })
  input!: JsonObject;

  @Property({ type: "boolean" })
  cancelRequested!: boolean;

  /** Whether its instance has no other such task meanwhile. */
  @Property({ type: "boolean" })
  exclusive!: boolean;

  @Property({ type: "string" })
  createdBy!: string;

  @Property({ type: "string", nullable: true })
  clientRequestId!: string | null;

  /** What the handler saved last. */
  @Property({ type: "json", nullable: true })
  checkpoint!: JsonObject | null;

  /** How often it was claimed: who writes with another number than this has lost the task. */
  @Property({ type: "integer" })
  claim!: number;

  /** The process that has it, or had it last. */
  @Property({ type: "string", nullable: true })
  owner!: string | null;

  /** Until then it is its owner's. By the database's clock, in milliseconds since 1970, as the two that follow; 0: nobody's. */
  @Property({ type: new BigIntType("number") })
  leaseUntil!: number;

  /** Not tried again before that. */
  @Property({ type: new BigIntType("number") })
  notBefore!: number;

  /** When it was first claimed: its deadline counts from here. */
  @Property({ type: new BigIntType("number"), nullable: true })
  begunAt!: number | null;

  /** Tries that failed since it last got ahead. */
  @Property({ type: "integer" })
  failures!: number;

  @Property({ type: "datetime" })
  createdAt!: Date;

  @Property({ type: "datetime", nullable: true })
  startedAt!: Date | null;

  @Property({ type: "datetime", nullable: true })
  finishedAt!: Date | null;
}
