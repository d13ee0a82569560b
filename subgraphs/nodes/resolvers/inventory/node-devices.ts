import { Arg, Ctx, FieldResolver, Resolver, Root } from "type-graphql";
import type { InventoryPartName } from "../../services/inventory/inventory-parts.ts";
import { INVENTORY_PARTS } from "../../services/inventory/inventory-parts.ts";
import { knownList } from "../../services/inventory/unavailable.ts";
import { diskViews } from "../../services/inventory/views/disk-view.ts";
import type { DiskHealthName, PciKindName } from "../../services/inventory/views/enum-names.ts";
import { hostView } from "../../services/inventory/views/host-view.ts";
import { pciDeviceViews } from "../../services/inventory/views/pci-view.ts";
import { partStatusView } from "../../services/inventory/views/status-view.ts";
import { usbDeviceViews } from "../../services/inventory/views/usb-view.ts";
import { NodeStub } from "../node-stub.ts";
import type { NodesContext } from "../nodes-context.ts";
import { NodeDiskObject } from "./disk-types.ts";
import { DiskHealthEnum, PciKindEnum } from "./enums.ts";
import { InventoryPartStatusObject, NodeHostObject } from "./host-type.ts";
import { PciDeviceObject } from "./pci-types.ts";
import { UsbControllerObject, UsbDeviceObject } from "./usb-types.ts";

const NULL = "Null where it was never reported or could not be read: `inventoryStatus` says why. Rights: viewer.";

/** What is stored of a node's inventory, beside its hardware and its network. */
@Resolver(() => NodeStub)
export class NodeDevicesResolver {
  @FieldResolver(() => NodeHostObject, { nullable: true, description: "Null for a node that no longer exists. Rights: viewer." })
  async host(@Root() { id }: NodeStub, @Ctx() { inventory, services }: NodesContext): Promise<NodeHostObject | null> {
    const stored = await inventory.HOST.load(id);
    if (stored === null && services.inventory.presence(id).state === "absent") return null;
    return hostView({ inventory: stored, missing: services.inventory.missingReason(id) });
  }

  @FieldResolver(() => [PciDeviceObject], { nullable: true, description: `By address. ${NULL}` })
  async pciDevices(
    @Root() { id }: NodeStub,
    @Arg("kind", () => PciKindEnum, { nullable: true, description: "Only these." }) kind: PciKindName | null,
    @Arg("passthroughPossible", () => Boolean, { nullable: true, description: "Only those that can, or cannot, be given to an instance." })
    passthroughPossible: boolean | null,
    @Ctx() { inventory }: NodesContext,
  ): Promise<PciDeviceObject[] | null> {
    const stored = await inventory.PCI.load(id);
    return stored && pciDeviceViews(id, stored.content, { kind, passthroughPossible });
  }

  @FieldResolver(() => [UsbControllerObject], { nullable: true, description: NULL })
  async usbControllers(@Root() { id }: NodeStub, @Ctx() { inventory }: NodesContext): Promise<UsbControllerObject[] | null> {
    const stored = await inventory.USB.load(id);
    return stored && knownList(stored.content, "controllers", stored.content.controllers);
  }

  @FieldResolver(() => [UsbDeviceObject], { nullable: true, description: `By bus and port, root hubs left out. ${NULL}` })
  async usbDevices(
    @Root() { id }: NodeStub,
    @Arg("passthroughPossible", () => Boolean, { nullable: true, description: "Only those that can, or cannot, be given to an instance." })
    passthroughPossible: boolean | null,
    @Ctx() { inventory }: NodesContext,
  ): Promise<UsbDeviceObject[] | null> {
    const stored = await inventory.USB.load(id);
    return stored && usbDeviceViews(id, stored.content, passthroughPossible);
  }

  @FieldResolver(() => [NodeDiskObject], { nullable: true, description: `Physical disks, by name. ${NULL}` })
  async disks(
    @Root() { id }: NodeStub,
    @Arg("health", () => DiskHealthEnum, { nullable: true, description: "Only those of which SMART says this." })
    health: DiskHealthName | null,
    @Ctx() { inventory }: NodesContext,
  ): Promise<NodeDiskObject[] | null> {
    const stored = await inventory.DISKS.load(id);
    return stored && diskViews(stored.content, health);
  }

  @FieldResolver(() => [InventoryPartStatusObject], {
    nullable: true,
    description:
      "When each part of the inventory was read, and what of it could not be. Null for a node that no longer exists. Rights: viewer.",
  })
  async inventoryStatus(@Root() { id }: NodeStub, @Ctx() context: NodesContext): Promise<InventoryPartStatusObject[] | null> {
    const stored = await Promise.all(INVENTORY_PARTS.map((part: InventoryPartName) => context.inventory[part].load(id)));
    const { inventory } = context.services;
    if (inventory.presence(id).state === "absent" && stored.every((one) => one === null)) return null;
    const missing = inventory.missingReason(id);
    return INVENTORY_PARTS.map((part, index) => partStatusView(part, stored[index] ?? null, missing));
  }
}
