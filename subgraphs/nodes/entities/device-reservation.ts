import "reflect-metadata";
import { Entity, PrimaryKey, Property } from "@mikro-orm/decorators/legacy";

/** A host's device that is kept for somebody. */
@Entity({ tableName: "device_reservation" })
export class DeviceReservation {
  @PrimaryKey({ type: "string" })
  nodeId!: string;

  /** As of an assignment. */
  @PrimaryKey({ type: "string" })
  device!: string;

  @Property({ type: "string", nullable: true })
  note!: string | null;

  @Property({ type: "string" })
  reservedBy!: string;

  @Property({ type: "datetime" })
  reservedAt!: Date;
}
