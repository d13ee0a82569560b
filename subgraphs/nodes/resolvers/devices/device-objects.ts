import "reflect-metadata";
import { Field, ObjectType, registerEnumType } from "type-graphql";
import { enumOf } from "../../../kit/graphql/enum-of.ts";
import { DateTime } from "../../../kit/graphql/scalars.ts";
import {
  ASSIGNMENT_STATES,
  type AssignmentState,
  DEVICE_KINDS,
  type DeviceKind,
  type InstanceDeviceView,
} from "../../services/devices/device-types.ts";
import { InstanceStub } from "../instance-stub.ts";
import { SriovObject } from "../inventory/device-types.ts";
import { UnavailableValueObject } from "../inventory/unavailable-type.ts";
import { NodeStub } from "../node-stub.ts";

const DeviceKindEnum = enumOf(DEVICE_KINDS);
registerEnumType(DeviceKindEnum, { name: "InstanceDeviceKind", description: "By which bus the host has a device." });

const AssignmentStateEnum = enumOf(ASSIGNMENT_STATES);
registerEnumType(AssignmentStateEnum, {
  name: "InstanceDeviceState",
  description: "How far a device is.",
  valuesConfig: {
    ATTACHING: { description: "Its host has been told, and has not answered yet." },
    DETACHING: { description: "Its host has been told, and has not answered yet." },
  },
});

@ObjectType("DeviceReservation", { description: "For whom a device is kept: only they and admins may attach it.", simpleResolvers: true })
export class DeviceReservationObject {
  @Field(() => String, { nullable: true, description: "What for." })
  note!: string | null;

  @Field(() => String)
  reservedBy!: string;

  @Field(() => DateTime)
  reservedAt!: Date;
}

@ObjectType("InstanceDevice", { description: "A device of its host that an instance has.", simpleResolvers: true })
export class InstanceDeviceObject {
  @Field(() => NodeStub, { nullable: true })
  node!: NodeStub | null;

  @Field(() => DeviceKindEnum)
  kind!: DeviceKind;

  @Field(() => String, { nullable: true, description: 'Of a PCI device: "0000:01:00.0".' })
  pciAddress!: string | null;

  @Field(() => String, { nullable: true, description: 'Of a USB device: "1-2.3".' })
  usbPort!: string | null;

  @Field(() => AssignmentStateEnum)
  state!: AssignmentState;

  @Field(() => String, { description: "Who asked for it." })
  requestedBy!: string;

  @Field(() => String, { nullable: true, description: "Its maker and its model, as far as they are known." })
  model!: string | null;

  @Field(() => Boolean, {
    nullable: true,
    description: "The running guest has it now; else from its next start on. Null while its host cannot be asked.",
  })
  plugged!: boolean | null;

  @Field(() => [UnavailableValueObject], { description: "Why values are null." })
  unavailable!: UnavailableValueObject[];
}

@ObjectType("AttachDevicePayload", { simpleResolvers: true })
export class AttachDevicePayload {
  @Field(() => InstanceStub, { nullable: true })
  instance!: InstanceStub | null;

  @Field(() => InstanceDeviceObject)
  device!: InstanceDeviceObject;
}

@ObjectType("DetachDevicePayload", { simpleResolvers: true })
export class DetachDevicePayload {
  @Field(() => InstanceStub, { nullable: true })
  instance!: InstanceStub | null;
}

@ObjectType("SetSriovVfsPayload", { simpleResolvers: true })
export class SetSriovVfsPayload {
  @Field(() => NodeStub, { nullable: true })
  node!: NodeStub | null;

  @Field(() => SriovObject, { description: "As the kernel made it." })
  sriov!: SriovObject;
}

@ObjectType("ReserveDevicePayload", { simpleResolvers: true })
export class ReserveDevicePayload {
  @Field(() => NodeStub, { nullable: true })
  node!: NodeStub | null;

  @Field(() => DeviceReservationObject)
  reservation!: DeviceReservationObject;
}

@ObjectType("ReleaseDevicePayload", { simpleResolvers: true })
export class ReleaseDevicePayload {
  @Field(() => NodeStub, { nullable: true })
  node!: NodeStub | null;

  @Field(() => Boolean, { description: "False where it was not reserved." })
  released!: boolean;
}

export function toInstanceDevice({ nodeId, ...view }: InstanceDeviceView): InstanceDeviceObject {
  return { node: { id: nodeId }, ...view };
}
