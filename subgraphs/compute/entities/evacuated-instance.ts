import "reflect-metadata";
import { BigIntType } from "@mikro-orm/core";
import { Entity, PrimaryKey, Property } from "@mikro-orm/decorators/legacy";
import type { EvacuatedState } from "../services/evacuation/evacuation-types.ts";

/** What an operation on a node has done with one of its instances. */
@Entity({ tableName: "evacuated_instance" })
export class EvacuatedInstance {
  @PrimaryKey({ type: "string" })
  operationId!: string;

  @PrimaryKey({ type: "string" })
  instanceId!: string;

  /** That is to be left, or on which it is stopped. */
  @Property({ type: "string" })
  nodeId!: string;

  @Property({ type: "string" })
  name!: string;

  @Property({ type: "string" })
  state!: EvacuatedState;

  /** Migrations, stops or both that were begun. */
  @Property({ type: "integer" })
  tries!: number;

  /** Of its migration; null also while that is only being asked for. */
  @Property({ type: "string", nullable: true })
  taskId!: string | null;

  /** The instance's own, after it was asked to stop: as long as it has that, nobody has asked anything else. */
  @Property({ type: new BigIntType("number"), nullable: true })
  stopRevision!: number | null;

  /** Whether it was to run before it was stopped. */
  @Property({ type: "boolean" })
  restart!: boolean;

  /** Not tried again before that. By the database's clock, in milliseconds since 1970. */
  @Property({ type: new BigIntType("number") })
  notBefore!: number;

  /** Why the last try failed. */
  @Property({ type: "string", nullable: true })
  reason!: string | null;

  @Property({ type: "text", nullable: true })
  message!: string | null;

  @Property({ type: "datetime" })
  createdAt!: Date;
}
