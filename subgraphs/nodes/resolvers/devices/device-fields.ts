import { Ctx, FieldResolver, Resolver, Root } from "type-graphql";
import { deviceKey } from "../../services/devices/device-types.ts";
import { InstanceStub } from "../instance-stub.ts";
import { PciDeviceObject } from "../inventory/pci-types.ts";
import { UsbDeviceObject } from "../inventory/usb-types.ts";
import type { NodesContext } from "../nodes-context.ts";
import { DeviceMutationsResolver } from "./device-mutations.ts";
import { DeviceReservationObject, InstanceDeviceObject, toInstanceDevice } from "./device-objects.ts";

const RESERVATION = { nullable: true, description: "For whom it is kept; null: for nobody. Rights: viewer." };

@Resolver(() => PciDeviceObject)
class PciReservationResolver {
  @FieldResolver(() => DeviceReservationObject, RESERVATION)
  async reservation(
    @Root() { nodeId, address }: PciDeviceObject,
    @Ctx() { reservations }: NodesContext,
  ): Promise<DeviceReservationObject | null> {
    return (await reservations.load(nodeId)).get(deviceKey({ kind: "PCI", at: address })) ?? null;
  }
}

@Resolver(() => UsbDeviceObject)
class UsbReservationResolver {
  @FieldResolver(() => DeviceReservationObject, RESERVATION)
  async reservation(
    @Root() { nodeId, port }: UsbDeviceObject,
    @Ctx() { reservations }: NodesContext,
  ): Promise<DeviceReservationObject | null> {
    return (await reservations.load(nodeId)).get(deviceKey({ kind: "USB", at: port })) ?? null;
  }
}

@Resolver(() => InstanceStub)
class InstanceDevicesResolver {
  @FieldResolver(() => [InstanceDeviceObject], {
    nullable: true,
    description: "Devices of its host that it has, by address or port. Rights: viewer.",
  })
  async devices(@Root() { id }: InstanceStub, @Ctx() { instanceDevices }: NodesContext): Promise<InstanceDeviceObject[]> {
    return (await instanceDevices.load(id)).map(toInstanceDevice);
  }
}

/** What this subgraph tells of devices that instances have, or may have. */
export const DEVICE_FIELDS = [DeviceMutationsResolver, PciReservationResolver, UsbReservationResolver, InstanceDevicesResolver] as const;
