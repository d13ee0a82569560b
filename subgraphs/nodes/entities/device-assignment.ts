import "reflect-metadata";
import { BigIntType } from "@mikro-orm/core";
import { Entity, PrimaryKey, Property } from "@mikro-orm/decorators/legacy";
import type { AssignmentState, DeviceKind } from "../services/devices/device-types.ts";

/** A host's device that an instance has, is to have, or is to give back. Stored before the agent is told, and confirmed after it answered. */
@Entity({ tableName: "device_assignment" })
export class DeviceAssignment {
  @PrimaryKey({ type: "string" })
  nodeId!: string;

  /** "pci:0000:01:00.0", "usb:1-2.3": unique on its node. */
  @PrimaryKey({ type: "string" })
  device!: string;

  @Property({ type: "string" })
  instanceId!: string;

  @Property({ type: "string" })
  kind!: DeviceKind;

  @Property({ type: "string" })
  state!: AssignmentState;

  @Property({ type: "string" })
  requestedBy!: string;

  /** Milliseconds since 1970. */
  @Property({ type: new BigIntType("number") })
  changedAt!: number;
}
