import "reflect-metadata";
import { BigIntType } from "@mikro-orm/core";
import { Entity, PrimaryKey, Property } from "@mikro-orm/decorators/legacy";
import { ResourceColumns } from "./resource-columns.ts";

/**
 * An instance that is on its way to another node, from the reservation there to the commit or the way back. While the row is there, the task
 * alone decides what becomes of the instance: nobody else tells either agent anything, and what they report is left aside.
 */
@Entity({ tableName: "instance_move" })
export class InstanceMove extends ResourceColumns {
  @PrimaryKey({ type: "string" })
  instanceId!: string;

  @Property({ type: "string" })
  taskId!: string;

  @Property({ type: "string" })
  sourceNodeId!: string;

  @Property({ type: "string" })
  targetNodeId!: string;

  /** Of the placement on the target. */
  @Property({ type: new BigIntType("number") })
  generation!: number;
}
