import "reflect-metadata";
import { Entity, PrimaryKey } from "@mikro-orm/decorators/legacy";
import { ResourceColumns } from "./resource-columns.ts";

/** What the instances of a node hold of it together. Changed in the transaction that changes the instance. */
@Entity({ tableName: "node_reservation" })
export class NodeReservation extends ResourceColumns {
  @PrimaryKey({ type: "string" })
  nodeId!: string;
}
