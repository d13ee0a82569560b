import "reflect-metadata";
import { Field, Float, Int, ObjectType } from "type-graphql";
import { DeviceUserObject, PassthroughObject } from "./device-types.ts";

@ObjectType("UsbBus", { description: "A USB bus: one root hub.", simpleResolvers: true })
class UsbBusObject {
  @Field(() => Int, { description: "As the kernel numbers them." })
  number!: number;

  @Field(() => String, { nullable: true, description: 'As its root hub writes it: "2.00", "3.00".' })
  version?: string | null;

  @Field(() => Float, { nullable: true, description: "In Mb/s: 12, 480, 5000, 10000." })
  speedMbps?: number | null;

  @Field(() => Int, { nullable: true, description: "How many the root hub has." })
  ports?: number | null;
}

@ObjectType("UsbController", { description: "A USB controller of a host, from sysfs.", simpleResolvers: true })
export class UsbControllerObject {
  @Field(() => String, { nullable: true, description: "Null for one that is not on PCI." })
  pciAddress?: string | null;

  @Field(() => String, { nullable: true, description: '"xhci_hcd", …' })
  driver?: string | null;

  @Field(() => [UsbBusObject], { description: "An xHCI has two: one for USB 2, one for USB 3." })
  buses!: UsbBusObject[];
}

@ObjectType("UsbDevice", { description: "A USB device of a host, from sysfs.", simpleResolvers: true })
export class UsbDeviceObject {
  /** Whose it is; not told. */
  nodeId!: string;

  @Field(() => Int, { description: "Number of its bus." })
  bus!: number;

  @Field(() => Int, { description: "Its number on the bus: another one after it was plugged in again." })
  device!: number;

  @Field(() => String, { description: 'Where it is plugged in: "1-2.3" is port 3 of the hub at port 2 of bus 1.' })
  port!: string;

  @Field(() => Int, { description: "16 bits, as in usb.ids." })
  vendorId!: number;

  @Field(() => Int, { description: "16 bits, as in usb.ids." })
  productId!: number;

  @Field(() => String, { nullable: true, description: "As it says itself, else by usb.ids." })
  vendorName?: string | null;

  @Field(() => String, { nullable: true, description: "As it says itself, else by usb.ids." })
  productName?: string | null;

  @Field(() => String, { nullable: true })
  serial?: string | null;

  @Field(() => Int, { description: "8 bits: the class of the device, else of its first interface." })
  classId!: number;

  @Field(() => String, { nullable: true })
  className?: string | null;

  @Field(() => Float, { nullable: true, description: "In Mb/s: 1.5, 12, 480, 5000, 10000." })
  speedMbps?: number | null;

  @Field(() => String, { nullable: true, description: 'Of USB: "2.00", "3.10".' })
  version?: string | null;

  @Field(() => [String], { description: "Kernel drivers of its interfaces." })
  drivers!: string[];

  @Field(() => PassthroughObject, { nullable: true })
  passthrough?: PassthroughObject | null;

  @Field(() => DeviceUserObject, { nullable: true, description: "The guest that has it. Null while none has." })
  user!: DeviceUserObject | null;
}
