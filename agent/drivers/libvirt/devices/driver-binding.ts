import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import { pause } from "../../../control-plane/backoff.ts";
import { ifPresent } from "../../../hardware/read-optional.ts";
import type { HostChannel } from "../../../host/host-channel.ts";
import type { LibvirtClient } from "../../../libvirt/client.ts";
import { LibvirtError } from "../../../libvirt/errors.ts";
import { attempt } from "../driver-errors.ts";
import type { BoundDevice } from "./device-notes.ts";
import { nodeDeviceName } from "./hostdev-xml.ts";

/** What a device that is a guest's is bound to. */
export const VFIO = "vfio-pci";

/** Libvirt gives a device back a moment after the guest has let go of it. */
const BY_ITSELF_MS = 3000;
const REBOUND_MS = 15_000;
const PAUSE_MS = 200;
/** A driver that does not let go soon may be waiting for its disks. */
const BIND_MS = 60_000;

/** Which driver a PCI device of the host has. */
export class DriverBinding {
  readonly #client: LibvirtClient;
  readonly #host: HostChannel;

  constructor(client: LibvirtClient, host: HostChannel) {
    this.#client = client;
    this.#host = host;
  }

  /** Null for none. Throws HostReadError. */
  async driverOf(address: string): Promise<string | null> {
    const link = await ifPresent(this.#host.readLink(`/sys/bus/pci/devices/${address}/driver`));
    return link?.split("/").at(-1) ?? null;
  }

  /** Takes it from its driver. Does nothing where nobody but a guest could have it. */
  async take(address: string, signal: AbortSignal): Promise<void> {
    if ((await this.driverOf(address)) === VFIO) return;
    const args = { name: nodeDeviceName(address), driverName: null };
    await attempt(`take ${address} from its driver`, () =>
      this.#client.call("nodeDeviceDetachFlags", args, { signal, timeoutMs: BIND_MS }),
    );
  }

  /** Until its driver is the one that it had; one that had none may have found one. UNAVAILABLE (reason DriverNotRestored) where it is not. */
  async giveBack({ address, driver }: BoundDevice, signal: AbortSignal): Promise<void> {
    if (await this.#becomes(address, driver, BY_ITSELF_MS, signal)) return;
    try {
      await this.#client.call("nodeDeviceReAttach", { name: nodeDeviceName(address) }, { signal, timeoutMs: BIND_MS });
    } catch (error) {
      if (!LibvirtError.isCode(error, "NO_NODE_DEVICE")) await attempt(`give ${address} back`, () => Promise.reject(error));
    }
    if (await this.#becomes(address, driver, REBOUND_MS, signal)) return;
    const now = await this.driverOf(address);
    const message = `The device ${address} had ${driver ?? "no driver"} before and has ${now ?? "none"} now: see the host's kernel log.`;
    throw new FleetError("UNAVAILABLE", message, { reason: "DriverNotRestored", details: { address, driver, now } });
  }

  async #becomes(address: string, driver: string | null, withinMs: number, signal: AbortSignal): Promise<boolean> {
    const end = performance.now() + withinMs;
    for (;;) {
      const now = await this.driverOf(address);
      if (driver === null ? now !== VFIO : now === driver) return true;
      // It may be gone altogether: a virtual function, a device that was unplugged.
      if ((await ifPresent(this.#host.readLink(`/sys/bus/pci/devices/${address}`))) === undefined) return true;
      if (performance.now() >= end) return false;
      await pause(PAUSE_MS, signal);
      signal.throwIfAborted();
    }
  }
}
