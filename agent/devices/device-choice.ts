import { FleetError, notFound } from "../../platform/errors/fleet-error.ts";
import type { UnavailableField } from "../../schema/generated/proto/hypervisor/v1/common.ts";
import type {
  DeviceUser,
  Passthrough,
  PciDevice,
  PciInventory,
  UsbDevice,
  UsbInventory,
} from "../../schema/generated/proto/hypervisor/v1/inventory.ts";
import { precondition } from "../drivers/shared/refusals.ts";
import { staysWithTheHost } from "../hardware/pci/passthrough.ts";
import type { UsbPlace } from "./host-device.ts";

export interface PciChoice {
  device: PciDevice;
  /** The rest of its IOMMU group, but for bridges: they leave the host's drivers with it. */
  companions: PciDevice[];
}

/**
 * The device that an instance is to have, as it was just read. Throws NOT_FOUND; FAILED_PRECONDITION with a reason: NoShell, InUse, and those of
 * agent/hardware/README.md. The instance itself may have it, or the rest of its group.
 */
export function choosePci(inventory: PciInventory, address: string, instanceId: string): PciChoice {
  const device = inventory.devices.find((one) => one.address === address);
  if (device === undefined) throw missing(inventory.unavailable, `PCI device ${address}`);
  const members = new Set(device.iommuGroupMembers);
  const companions = inventory.devices.filter(
    (other) => other !== device && members.has(other.address) && !staysWithTheHost(other.classId),
  );
  for (const each of [device, ...companions]) refuseUsed(`The device ${each.address}`, each.user, instanceId);
  refuseImpossible(`The device ${address}`, device.passthrough);
  return { device, companions };
}

/** As `choosePci`. NOT_FOUND also where something else is plugged in there than was expected. */
export function chooseUsb(inventory: UsbInventory, { port, vendorId, productId }: UsbPlace, instanceId: string): UsbDevice {
  const device = inventory.devices.find((one) => one.port === port);
  const isOther = (expected: number, found: number) => expected !== 0 && expected !== found;
  if (device === undefined || isOther(vendorId, device.vendorId) || isOther(productId, device.productId)) {
    throw missing(inventory.unavailable, device === undefined ? `USB device at ${port}` : `USB device of this kind at ${port}`);
  }
  refuseUsed(`The device at ${port}`, device.user, instanceId);
  refuseImpossible(`The device at ${port}`, device.passthrough);
  return device;
}

export function refuseUsed(what: string, user: DeviceUser | undefined, instanceId: string | null): void {
  if (user === undefined || (instanceId !== null && user.instanceId === instanceId)) return;
  const { instanceId: usedBy, guestName } = user;
  const message = `${what} is ${usedBy || `the guest ${guestName}`}'s: detach it there first.`;
  throw precondition("InUse", message, { usedBy: usedBy || guestName });
}

function refuseImpossible(what: string, passthrough: Passthrough | undefined): void {
  if (passthrough?.possible === true) return;
  const { reason = "NotKnown", message = "" } = passthrough ?? {};
  throw precondition(reason, `${what} stays with the host. ${message}`.trim());
}

/** A host that does not list its devices is told apart from one that has not this one. */
function missing(unavailable: readonly UnavailableField[], what: string): FleetError {
  const why = unavailable.find(({ field }) => field === "devices");
  if (why === undefined || why.reason === "NOT_PRESENT") return notFound("Device", what);
  if (why.reason === "NO_SHELL") return precondition("NoShell", "The host is reached over libvirt alone: its devices cannot be looked at.");
  return new FleetError("UNAVAILABLE", `The host's devices cannot be read: ${why.message}`, { reason: "HostUnreadable" });
}
