import "reflect-metadata";
import { BigIntType } from "@mikro-orm/core";
import { Entity, PrimaryKey, Property } from "@mikro-orm/decorators/legacy";

/** What the instances of a node hold of it together. Changed in the transaction that changes the instance. */
@Entity({ tableName: "node_reservation" })
export class NodeReservation {
  @PrimaryKey({ type: "string" })
  nodeId!: string;

  @Property({ type: "integer" })
  cpuCores!: number;

  @Property({ type: new BigIntType("number") })
  memoryBytes!: number;

  @Property({ type: new BigIntType("number") })
  diskBytes!: number;

  @Property({ type: "integer" })
  gpuCount!: number;
}
