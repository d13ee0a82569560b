import type { Logger } from "../../platform/observability/log.ts";
import { InventoryPart } from "../../schema/generated/proto/hypervisor/v1/inventory.ts";
import { DriverFacts } from "../drivers/driver-facts.ts";
import type { InstanceDriver } from "../drivers/instance-driver.ts";
import { HostInventories } from "../hardware/host-inventories.ts";
import { type PartReader, partReaders } from "../hardware/parts.ts";
import { watchHardware } from "../hardware/watch/hardware-watch.ts";
import { PendingParts } from "../hardware/watch/pending-parts.ts";
import { SmartWatch } from "../hardware/watch/smart-watch.ts";
import type { HostChannel } from "../host/host-channel.ts";
import type { ControlPlaneConnection } from "./connection.ts";
import { InventoryPush } from "./inventory-push.ts";

export interface NodeInventoryOptions {
  host: HostChannel;
  drivers: readonly InstanceDriver[];
  connection: ControlPlaneConnection;
  nodeId: () => string | null;
  /** How often the disks' health is read; 5 minutes by default. */
  smartIntervalMs?: number;
  log: Logger;
}

const SMART_INTERVAL_MS = 300_000;
/** A guest that starts makes several events, and libvirt knows its devices a moment after the kernel does. */
const GUESTS_QUIET_MS = 300;
const BY_GUESTS = [InventoryPart.PCI, InventoryPart.USB, InventoryPart.NETWORK];
/** What a driver tells only while it can be asked. */
const BY_AVAILABILITY = [...BY_GUESTS, InventoryPart.HOST, InventoryPart.DISKS];

/** The inventory of one node: read when the host's hardware changes, and told to the control plane. */
export class NodeInventory {
  readonly #options: NodeInventoryOptions;
  readonly #smart: SmartWatch;
  readonly #parts: readonly InventoryPart[];
  readonly #lanes: ReadonlyArray<{ pending: PendingParts; push: InventoryPush }>;

  constructor(options: NodeInventoryOptions) {
    this.#options = options;
    const { host, drivers, smartIntervalMs = SMART_INTERVAL_MS, log } = options;
    this.#smart = new SmartWatch({ host, intervalMs: smartIntervalMs, onRead: () => this.#note([InventoryPart.DISKS]), log });
    const readers = partReaders(this.#smart);
    this.#parts = readers.map(({ part }) => part);
    const facts = new DriverFacts(drivers, log);
    const lanes = [readers.filter(({ isSlow }) => !isSlow), ...readers.filter(({ isSlow }) => isSlow).map((one) => [one])];
    this.#lanes = lanes.map((some) => this.#lane(some, facts));
  }

  /** Offers all parts now: after a registration. */
  offerNow(): void {
    for (const { push } of this.#lanes) push.offerNow();
  }

  /** Reads all parts again: the host may be another one than before. */
  readNow(): void {
    this.#note(this.#parts, 0);
  }

  /** Works until the signal aborts; never throws. */
  async run(signal: AbortSignal): Promise<void> {
    const { host, drivers, log } = this.#options;
    const undo = drivers.map((driver) =>
      driver.listen({
        onChanged: () => this.#note(BY_GUESTS, GUESTS_QUIET_MS),
        onAvailable: () => this.#note(BY_AVAILABILITY, GUESTS_QUIET_MS),
      }),
    );
    const onConcerned = (parts: readonly InventoryPart[]) => this.#note(parts);
    const pushing = this.#lanes.map(({ push }) => push.run(signal));
    await Promise.all([watchHardware({ host, onConcerned, log }, signal), this.#smart.run(signal), ...pushing]);
    for (const end of undo) end();
    for (const { pending } of this.#lanes) pending.close();
  }

  #note(parts: readonly InventoryPart[], quietMs?: number): void {
    for (const { pending } of this.#lanes) pending.note(parts, quietMs);
  }

  #lane(readers: readonly PartReader[], facts: DriverFacts): { pending: PendingParts; push: InventoryPush } {
    const { host, connection, nodeId, log } = this.#options;
    const pending = new PendingParts(readers.map(({ part }) => part));
    const sources = (signal: AbortSignal) => ({ users: () => facts.users(signal), libvirt: () => facts.libvirt(signal) });
    const inventories = new HostInventories({ host, readers, pending, sources, log });
    return { pending, push: new InventoryPush({ connection, nodeId, inventories, log }) };
  }
}
