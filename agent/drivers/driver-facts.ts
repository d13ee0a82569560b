import type { Logger } from "../../platform/observability/log.ts";
import { type DeviceUsers, NO_USERS } from "../hardware/device-users.ts";
import type { LibvirtFacts } from "../hardware/host-facts.ts";
import type { InstanceDriver } from "./instance-driver.ts";

const ASK_MS = 5000;

/** What a host's drivers know about it. */
export class DriverFacts {
  readonly #drivers: readonly InstanceDriver[];
  readonly #log: Logger;
  readonly #users = new Map<InstanceDriver, DeviceUsers>();

  constructor(drivers: readonly InstanceDriver[], log: Logger) {
    this.#drivers = drivers;
    this.#log = log;
  }

  /** Who has what of the host. What a driver that is away said last still holds: its guests run on. Never throws. */
  async users(signal: AbortSignal): Promise<DeviceUsers> {
    const all = await Promise.all(
      this.#drivers.map(async (driver) => {
        const users = await this.#ask(driver, () => driver.deviceUsers(limited(signal)));
        if (users !== null) this.#users.set(driver, users);
        return this.#users.get(driver) ?? NO_USERS;
      }),
    );
    return {
      pci: new Map(all.flatMap(({ pci }) => [...pci])),
      usb: new Map(all.flatMap(({ usb }) => [...usb])),
      interfaces: new Map(all.flatMap(({ interfaces }) => [...interfaces])),
      pools: new Map(all.flatMap(({ pools }) => [...pools])),
    };
  }

  /** Null where no libvirt answers now. Never throws. */
  async libvirt(signal: AbortSignal): Promise<LibvirtFacts | null> {
    const facts = await Promise.all(this.#drivers.map((driver) => this.#ask(driver, () => driver.libvirtFacts(limited(signal)))));
    return facts.find((one) => one !== null) ?? null;
  }

  async #ask<T>(driver: InstanceDriver, call: () => Promise<T>): Promise<T | null> {
    if (!driver.available) return null;
    try {
      return await call();
    } catch (error) {
      this.#log.debug({ driver: driver.name, err: error }, "what the driver knows of its host is not known anew");
      return null;
    }
  }
}

function limited(signal: AbortSignal): AbortSignal {
  return AbortSignal.any([signal, AbortSignal.timeout(ASK_MS)]);
}
