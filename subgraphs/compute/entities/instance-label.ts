import "reflect-metadata";
import { Entity, PrimaryKey, Property } from "@mikro-orm/decorators/legacy";

/** A label of an instance as a row, so that instances can be found by it. Dropped with its instance. */
@Entity({ tableName: "instance_label" })
export class InstanceLabel {
  @PrimaryKey({ type: "string" })
  instanceId!: string;

  @PrimaryKey({ type: "string" })
  key!: string;

  @Property({ type: "string" })
  value!: string;
}
