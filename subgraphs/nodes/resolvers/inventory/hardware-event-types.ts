import "reflect-metadata";
import { Field, ID, InputType, ObjectType } from "type-graphql";
import type {
  Accelerator,
  Disk,
  NetworkInterface,
  PciDevice,
  UsbDevice,
} from "../../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import { WatchEventFields } from "../../../kit/graphql/shared-types.ts";
import type { NodeHardwareChange } from "../../services/inventory/hardware-events.ts";
import type { HardwareChangeKind } from "../../services/inventory/hardware-subjects.ts";
import type { InventoryPartName, Stored } from "../../services/inventory/inventory-parts.ts";
import { acceleratorView } from "../../services/inventory/views/accelerator-view.ts";
import { diskView } from "../../services/inventory/views/disk-view.ts";
import { interfaceView } from "../../services/inventory/views/network-view.ts";
import { pciDeviceView } from "../../services/inventory/views/pci-view.ts";
import { usbDeviceView } from "../../services/inventory/views/usb-view.ts";
import { NodeStub } from "../node-stub.ts";
import { NodeAcceleratorObject } from "./accelerator-types.ts";
import { NodeDiskObject } from "./disk-types.ts";
import { HardwareChangeKindEnum, InventoryPartEnum } from "./enums.ts";
import { NodeInterfaceObject } from "./network-types.ts";
import { PciDeviceObject } from "./pci-types.ts";
import { UsbDeviceObject } from "./usb-types.ts";

@InputType("NodeHardwareEventFilter", { description: "What is null or left out does not filter." })
export class HardwareEventFilterInput {
  @Field(() => ID, { nullable: true })
  nodeId?: string | null;

  @Field(() => [InventoryPartEnum], { nullable: true, description: "Only changes of these parts; empty: all." })
  parts?: InventoryPartName[] | null;
}

@ObjectType("NodeHardwareChange", { description: "What happened to one piece of a host's hardware.", simpleResolvers: true })
class NodeHardwareChangeObject {
  @Field(() => NodeStub, { nullable: true })
  node!: NodeStub | null;

  @Field(() => InventoryPartEnum)
  part!: InventoryPartName;

  @Field(() => ID, {
    description: "Unique in its part of the node: a PCI address, a USB port, the name of an interface or a disk, an accelerator's id.",
  })
  id!: string;

  @Field(() => HardwareChangeKindEnum)
  kind!: HardwareChangeKind;

  @Field(() => String, { description: "A sentence, for people." })
  description!: string;

  @Field(() => PciDeviceObject, { nullable: true, description: "Of the part PCI: as it was then." })
  pciDevice!: PciDeviceObject | null;

  @Field(() => UsbDeviceObject, { nullable: true, description: "Of the part USB: as it was then." })
  usbDevice!: UsbDeviceObject | null;

  @Field(() => NodeInterfaceObject, { nullable: true, description: "Of the part NETWORK: as it was then." })
  networkInterface!: NodeInterfaceObject | null;

  @Field(() => NodeDiskObject, { nullable: true, description: "Of the part DISKS: as it was then." })
  disk!: NodeDiskObject | null;

  @Field(() => NodeAcceleratorObject, { nullable: true, description: "Of the part ACCELERATORS: as it was then." })
  accelerator!: NodeAcceleratorObject | null;
}

@ObjectType("NodeHardwareEvent", { simpleResolvers: true })
export class NodeHardwareEventObject extends WatchEventFields {
  @Field(() => NodeHardwareChangeObject, { nullable: true, description: "Null on BOOKMARK." })
  nodeHardwareChange!: NodeHardwareChangeObject | null;
}

export function toHardwareChangeObject({ nodeId, part, id, kind, description, item }: NodeHardwareChange): NodeHardwareChangeObject {
  return {
    node: { id: nodeId },
    part,
    id,
    kind,
    description,
    pciDevice: part === "PCI" ? pciDeviceView(nodeId, item as unknown as Stored<PciDevice>) : null,
    usbDevice: part === "USB" ? usbDeviceView(nodeId, item as unknown as Stored<UsbDevice>) : null,
    networkInterface: part === "NETWORK" ? interfaceView(item as unknown as Stored<NetworkInterface>) : null,
    disk: part === "DISKS" ? diskView(item as unknown as Stored<Disk>) : null,
    accelerator: part === "ACCELERATORS" ? acceleratorView(item as unknown as Stored<Accelerator>, [], null) : null,
  };
}
