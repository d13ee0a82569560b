import { Field, ID, InputType, Int } from "type-graphql";

const PCI_ADDRESS = { nullable: true, description: 'Of a PCI device: "0000:01:00.0". Either this or `usbPort`.' };
const USB_PORT = { nullable: true, description: 'Of a USB device, where it is plugged in: "1-2.3".' };

@InputType("AttachDeviceInput")
export class AttachDeviceInput {
  @Field(() => ID)
  instanceId!: string;

  @Field(() => String, PCI_ADDRESS)
  pciAddress?: string | null;

  @Field(() => String, USB_PORT)
  usbPort?: string | null;

  @Field(() => Int, { nullable: true, description: "16 bits; what is expected at the USB port. Left out: whatever is." })
  vendorId?: number | null;

  @Field(() => Int, { nullable: true, description: "16 bits; what is expected at the USB port. Left out: whatever is." })
  productId?: number | null;
}

@InputType("DetachDeviceInput")
export class DetachDeviceInput {
  @Field(() => ID)
  instanceId!: string;

  @Field(() => String, PCI_ADDRESS)
  pciAddress?: string | null;

  @Field(() => String, USB_PORT)
  usbPort?: string | null;
}

@InputType("SetSriovVfsInput")
export class SetSriovVfsInput {
  @Field(() => ID)
  nodeId!: string;

  @Field(() => String, { description: 'Of the physical function: "0000:01:00.0".' })
  pciAddress!: string;

  @Field(() => Int, { description: "How many virtual functions it is to have, 0 to `sriov.totalVfs`." })
  count!: number;
}

@InputType("ReserveDeviceInput")
export class ReserveDeviceInput {
  @Field(() => ID)
  nodeId!: string;

  @Field(() => String, PCI_ADDRESS)
  pciAddress?: string | null;

  @Field(() => String, USB_PORT)
  usbPort?: string | null;

  @Field(() => String, { nullable: true, description: "For others: at most 500 characters." })
  note?: string | null;
}

@InputType("ReleaseDeviceInput")
export class ReleaseDeviceInput {
  @Field(() => ID)
  nodeId!: string;

  @Field(() => String, PCI_ADDRESS)
  pciAddress?: string | null;

  @Field(() => String, USB_PORT)
  usbPort?: string | null;
}
