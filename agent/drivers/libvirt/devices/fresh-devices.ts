import type { PciDevice, PciInventory, UsbDevice, UsbInventory } from "../../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import { choosePci, chooseUsb } from "../../../devices/device-choice.ts";
import type { UsbPlace } from "../../../devices/host-device.ts";
import type { DeviceUsers } from "../../../hardware/device-users.ts";
import { PCI_NEEDS, readPci } from "../../../hardware/pci/pci.ts";
import { readUsb, USB_NEEDS } from "../../../hardware/usb/usb.ts";
import type { HostChannel } from "../../../host/host-channel.ts";
import { type BoundDevice, type DeviceNote, groupOf, type PciNote, type UsbNote } from "./device-notes.ts";
import type { UsbSource } from "./hostdev-xml.ts";

/** The host's devices as they are now: what was read is kept until `forget`. All throw as `choosePci` and `chooseUsb`. */
export class FreshDevices {
  readonly #host: HostChannel;
  readonly #users: (signal: AbortSignal) => Promise<DeviceUsers>;
  #pci: Promise<PciInventory> | null = null;

  constructor(host: HostChannel, users: (signal: AbortSignal) => Promise<DeviceUsers>) {
    this.#host = host;
    this.#users = users;
  }

  forget(): void {
    this.#pci = null;
  }

  pci(signal: AbortSignal): Promise<PciInventory> {
    this.#pci ??= this.#readPci(signal);
    return this.#pci;
  }

  async pciNote(address: string, instanceId: string, notes: readonly DeviceNote[], signal: AbortSignal): Promise<PciNote> {
    const inventory = await this.pci(signal);
    const { device, companions } = choosePci(inventory, address, instanceId);
    // What the instance has of the group already has no driver of the host any more.
    const before = new Map(notes.flatMap((note) => (note.kind === "pci" ? groupOf(note) : [])).map((one) => [one.address, one]));
    const bound = ({ address: at, driver }: PciDevice): BoundDevice => before.get(at) ?? { address: at, driver: driver ?? null };
    const physical = inventory.devices.find((one) => one.address === device.physicalFunction);
    return {
      kind: "pci",
      ...bound(device),
      model: modelOf(device.vendorName, device.deviceName),
      companions: companions.map(bound),
      sriov: physical?.sriov ? { physicalFunction: physical.address, count: physical.sriov.enabledVfs } : null,
    };
  }

  async checkPci(address: string, instanceId: string, signal: AbortSignal): Promise<void> {
    choosePci(await this.pci(signal), address, instanceId);
  }

  async usbNote(place: UsbPlace, instanceId: string, signal: AbortSignal): Promise<UsbNote> {
    const { port, vendorId, productId, vendorName, productName } = await this.#usb(place, instanceId, signal);
    return { kind: "usb", port, vendorId, productId, model: modelOf(vendorName, productName) };
  }

  /** Where it is now: another number after it was plugged in again, or the host was booted. */
  async usbSource(note: UsbNote, instanceId: string, signal: AbortSignal): Promise<UsbSource> {
    const { port, vendorId, productId, bus, device } = await this.#usb(note, instanceId, signal);
    return { port, vendorId, productId, bus, device };
  }

  async #usb(place: Omit<UsbPlace, "kind">, instanceId: string, signal: AbortSignal): Promise<UsbDevice> {
    const inventory: UsbInventory = await readUsb(await this.#host.snapshot(USB_NEEDS), await this.#users(signal));
    return chooseUsb(inventory, { kind: "usb", ...place }, instanceId);
  }

  async #readPci(signal: AbortSignal): Promise<PciInventory> {
    return await readPci(await this.#host.snapshot(PCI_NEEDS), await this.#users(signal));
  }
}

function modelOf(vendor: string | undefined, model: string | undefined): string {
  return [vendor, model].filter((part) => part).join(" ");
}
