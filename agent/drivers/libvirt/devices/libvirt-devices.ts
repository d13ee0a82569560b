import { isDeepStrictEqual } from "node:util";
import { FleetError, notFound } from "../../../../platform/errors/fleet-error.ts";
import type { Logger } from "../../../../platform/observability/log.ts";
import { InstanceType } from "../../../../schema/generated/proto/hypervisor/v1/compute.ts";
import type { AttachedDevice } from "../../../../schema/generated/proto/hypervisor/v1/devices.ts";
import type { Sriov } from "../../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import type { HostDevice } from "../../../devices/host-device.ts";
import { checkVfs, writeVfs } from "../../../devices/virtual-functions.ts";
import type { DeviceUsers } from "../../../hardware/device-users.ts";
import { type HostChannel, HostReadError } from "../../../host/host-channel.ts";
import type { LibvirtClient } from "../../../libvirt/client.ts";
import { Turns } from "../../../libvirt/turns.ts";
import type { DeviceDriver } from "../../device-driver.ts";
import type { Ref } from "../../instance-driver.ts";
import { precondition } from "../../shared/refusals.ts";
import { gone } from "../domain-control.ts";
import type { Domain, DomainIndex } from "../domain-index.ts";
import { aliasOf, type DeviceNote, groupOf, isSameDevice } from "./device-notes.ts";
import { DomainDevices } from "./domain-devices.ts";
import { DriverBinding } from "./driver-binding.ts";
import { FreshDevices } from "./fresh-devices.ts";

export interface LibvirtDevicesOptions {
  client: LibvirtClient;
  index: Pick<DomainIndex, "find" | "drop">;
  /** The way to the host that libvirt runs on; null: there is none but libvirt. */
  host: HostChannel | null;
  users(signal: AbortSignal): Promise<DeviceUsers>;
  /** For a running guest to let go of a device; 30 s by default. */
  removalMs?: number;
  log: Logger;
}

interface Parts {
  fresh: FreshDevices;
  drivers: DriverBinding;
}

const MOST_WAITING = 64;
const WAIT_MS = 120_000;

/**
 * Devices of the host, given to domains. What was given is noted in the domain before anything is done for it, with the host's drivers, and the note
 * goes when all of it is undone: whatever ends in between, the same call again goes on. One change of the host's devices at a time.
 */
export class LibvirtDevices implements DeviceDriver {
  readonly #options: LibvirtDevicesOptions;
  readonly #domains: DomainDevices;
  readonly #parts: Parts | null;
  readonly #turns = new Turns(1, MOST_WAITING, () => {
    return new FleetError("UNAVAILABLE", "Other devices of the host are being given or taken: try again.", { reason: "DevicesBusy" });
  });

  constructor(options: LibvirtDevicesOptions) {
    const { client, host, users, removalMs } = options;
    this.#options = options;
    this.#domains = new DomainDevices(client, removalMs);
    this.#parts = host && { fresh: new FreshDevices(host, users), drivers: new DriverBinding(client, host) };
  }

  async attach(ref: Ref, device: HostDevice, signal: AbortSignal): Promise<AttachedDevice> {
    return await this.#alone(signal, async () => {
      const domain = await this.#instance(ref, signal);
      refuseWithoutSlots(domain);
      const before = domain.facts.deviceNotes;
      const known = before.find((one) => isSameDevice(one, device));
      const note = await this.#described(device, domain, known, signal);
      try {
        if (!isDeepStrictEqual(known, note)) await this.#domains.note(domain, [...before.filter((one) => one !== known), note], signal);
        await this.#give(domain, note, signal);
      } catch (error) {
        // What may still come about stays noted, and is told or undone by the next call.
        if (known === undefined && FleetError.from(error).code !== "UNAVAILABLE") await this.#takeBackQuietly(domain, note, signal);
        throw error;
      } finally {
        this.#options.index.drop(domain.dom.uuid);
      }
      this.#options.log.info({ instanceId: domain.facts.mark?.instanceId, device: aliasOf(note) }, "a device was given to an instance");
      return toldOf(note, await this.#domains.isPlugged(domain, aliasOf(note), signal));
    });
  }

  async detach(ref: Ref, device: HostDevice, signal: AbortSignal): Promise<void> {
    await this.#alone(signal, async () => {
      const domain = await this.#instance(ref, signal);
      const note = domain.facts.deviceNotes.find((one) => isSameDevice(one, device));
      if (note === undefined) return;
      await this.#takeBack(domain, note, signal);
      this.#options.log.info({ instanceId: domain.facts.mark?.instanceId, device: aliasOf(note) }, "a device was taken from an instance");
    });
  }

  async list(ref: Ref, signal: AbortSignal): Promise<AttachedDevice[]> {
    const domain = await this.#instance(ref, signal);
    const told: AttachedDevice[] = [];
    for (const note of domain.facts.deviceNotes) told.push(toldOf(note, await this.#domains.isPlugged(domain, aliasOf(note), signal)));
    return told;
  }

  async setSriovVfs(pciAddress: string, count: number, signal: AbortSignal): Promise<Sriov> {
    return await this.#alone(signal, async ({ fresh }) => {
      const { host } = this.#options;
      const inventory = await fresh.pci(signal);
      const sriovOf = ({ devices }: typeof inventory) => devices.find(({ address }) => address === pciAddress)?.sriov;
      if (host === null || !checkVfs(inventory, pciAddress, count)) return required(sriovOf(inventory), pciAddress);
      await writeVfs(host, pciAddress, sriovOf(inventory)?.enabledVfs ?? 0, count, signal);
      this.#options.log.info({ device: pciAddress, count }, "virtual functions were set");
      fresh.forget();
      return required(sriovOf(await fresh.pci(signal)), pciAddress);
    });
  }

  /**
   * Before a guest is started: what it is to have may be the host's again, or elsewhere. A USB device that is not plugged in is left out of this start.
   * Throws FAILED_PRECONDITION as `attach`, DeviceMissing.
   */
  async prepareBoot(domain: Domain, signal: AbortSignal): Promise<void> {
    const { deviceNotes, mark } = domain.facts;
    if (deviceNotes.length === 0) return;
    await this.#alone(signal, async () => {
      for (const note of deviceNotes) {
        if (note.kind === "pci") await this.#makeFunctions(note.sriov, signal);
        try {
          await this.#give(domain, note, signal);
        } catch (thrown) {
          const error = FleetError.from(thrown);
          if (error.code !== "NOT_FOUND") throw error;
          if (note.kind === "pci") throw precondition("DeviceMissing", `${error.message} Detach it, or put it back.`, error.details);
          this.#options.log.warn(
            { instanceId: mark?.instanceId, port: note.port },
            "a USB device is not plugged in: the guest starts without it",
          );
          await this.#domains.unplug(domain, aliasOf(note), signal);
        }
      }
    });
  }

  /** Of a domain that is about to be removed, and does not run: its devices are the host's again, as far as that can be. */
  async giveBackAll(domain: Domain, signal: AbortSignal): Promise<void> {
    const { deviceNotes, mark } = domain.facts;
    if (deviceNotes.length === 0 || this.#parts === null) return;
    await this.#alone(signal, async ({ drivers }) => {
      for (const bound of deviceNotes.flatMap((note) => (note.kind === "pci" ? groupOf(note) : []))) {
        await drivers.giveBack(bound, signal).catch((error: unknown) => {
          if (signal.aborted) throw error;
          this.#options.log.error({ instanceId: mark?.instanceId, device: bound.address, err: error }, "a device has not its driver again");
        });
      }
    });
  }

  /** As it is now, checked. The driver that a PCI device had is known only by what was noted; at a USB port there may be another device by now. */
  async #described(device: HostDevice, { facts }: Domain, known: DeviceNote | undefined, signal: AbortSignal): Promise<DeviceNote> {
    const { fresh } = this.#reachable();
    const instanceId = facts.mark?.instanceId ?? "";
    if (device.kind === "usb") return await fresh.usbNote(device, instanceId, signal);
    return known ?? (await fresh.pciNote(device.address, instanceId, facts.deviceNotes, signal));
  }

  /** Binds and plugs what is noted. Checks all of it again: what was done so far may be long ago. */
  async #give(domain: Domain, note: DeviceNote, signal: AbortSignal): Promise<void> {
    const { fresh, drivers } = this.#reachable();
    const instanceId = domain.facts.mark?.instanceId ?? "";
    try {
      if (note.kind === "usb") {
        await this.#domains.plugUsb(domain, await fresh.usbSource(note, instanceId, signal), aliasOf(note), signal);
        return;
      }
      await fresh.checkPci(note.address, instanceId, signal);
      if (note.companions.length > 0) for (const { address } of groupOf(note)) await drivers.take(address, signal);
      await this.#domains.plugPci(domain, note, aliasOf(note), signal);
    } finally {
      this.#options.index.drop(domain.dom.uuid);
    }
  }

  async #takeBack(domain: Domain, note: DeviceNote, signal: AbortSignal): Promise<void> {
    const { drivers } = this.#reachable();
    try {
      await this.#domains.unplug(domain, aliasOf(note), signal);
      const rest = domain.facts.deviceNotes.filter((one) => !isSameDevice(one, note));
      // A group goes back as a whole, with the last of it.
      const kept = new Set(rest.flatMap((one) => (one.kind === "pci" ? groupOf(one) : [])).map(({ address }) => address));
      const free = note.kind === "pci" ? groupOf(note).filter(({ address }) => !kept.has(address)) : [];
      for (const bound of free) await drivers.giveBack(bound, signal);
      await this.#domains.note(domain, rest, signal);
    } finally {
      this.#options.index.drop(domain.dom.uuid);
    }
  }

  async #takeBackQuietly(domain: Domain, note: DeviceNote, signal: AbortSignal): Promise<void> {
    const device = aliasOf(note);
    await this.#takeBack(domain, note, signal).catch((error: unknown) =>
      this.#options.log.warn({ device, err: error }, "what was done for a device is not undone; it stays noted"),
    );
  }

  /** A boot of the host takes virtual functions away. */
  async #makeFunctions(sriov: { physicalFunction: string; count: number } | null, signal: AbortSignal): Promise<void> {
    const { fresh } = this.#reachable();
    const { host } = this.#options;
    if (sriov === null || host === null) return;
    const physical = (await fresh.pci(signal)).devices.find(({ address }) => address === sriov.physicalFunction);
    if (physical?.sriov?.enabledVfs !== 0) return;
    await writeVfs(host, sriov.physicalFunction, 0, sriov.count, signal);
    fresh.forget();
  }

  async #instance(ref: Ref, signal: AbortSignal): Promise<Domain> {
    const domain = await this.#options.index.find(ref, signal);
    if (domain === null) throw gone();
    if (domain.facts.mark !== null) return domain;
    throw precondition("InstanceUnmanaged", "The agent gives nothing to what it did not make: adopt it first.");
  }

  #reachable(): Parts {
    if (this.#parts !== null) return this.#parts;
    throw precondition("NoShell", "The host is reached over libvirt alone: its devices cannot be looked at.");
  }

  async #alone<T>(signal: AbortSignal, work: (parts: Parts) => Promise<T>): Promise<T> {
    const parts = this.#reachable();
    const done = await this.#turns.take(WAIT_MS, signal);
    try {
      parts.fresh.forget();
      return await work(parts);
    } catch (error) {
      if (!(error instanceof HostReadError)) throw error;
      throw new FleetError("UNAVAILABLE", `The host did not answer: ${error.message}`, { reason: "HostUnreachable", cause: error });
    } finally {
      done();
    }
  }
}

function refuseWithoutSlots({ facts, saved }: Domain): void {
  if (facts.type === InstanceType.MICROVM) throw precondition("InstanceTypeUnsupported", "A microVM has neither PCI nor USB.");
  if (saved)
    throw precondition("InstanceSaved", "The instance is saved to disk with the devices that it had: resume it, or start it anew, first.");
}

function toldOf(note: DeviceNote, plugged: boolean): AttachedDevice {
  const { model } = note;
  if (note.kind === "pci") return { device: { pciAddress: note.address, usb: undefined }, plugged, model };
  const { port, vendorId, productId } = note;
  return { device: { pciAddress: "", usb: { port, vendorId, productId } }, plugged, model };
}

function required(sriov: Sriov | undefined, address: string): Sriov {
  if (sriov === undefined) throw notFound("Device", `PCI device ${address}`);
  return sriov;
}
