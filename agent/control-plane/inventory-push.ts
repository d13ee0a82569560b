import { FleetError } from "../../platform/errors/fleet-error.ts";
import type { Logger } from "../../platform/observability/log.ts";
import { InventoryServiceDefinition } from "../../schema/generated/proto/hypervisor/v1/agent.ts";
import type { InventoryPart } from "../../schema/generated/proto/hypervisor/v1/inventory.ts";
import type { HostInventories } from "../hardware/host-inventories.ts";
import type { PartReading } from "../hardware/parts.ts";
import { Backoff, jittered, pause } from "./backoff.ts";
import type { ControlPlaneConnection } from "./connection.ts";
import { doubtsConnection, reactionTo } from "./refusals.ts";

export interface InventoryPushOptions {
  connection: ControlPlaneConnection;
  nodeId: () => string | null;
  inventories: HostInventories;
  log: Logger;
}

/** How often a part is offered although nothing changed, in case the control plane lost it. */
const OFFER_EVERY_MS = 300_000;
/** A part that the control plane refuses: what is wrong with it is put right by an update of one of both. */
const REFUSED_PAUSE_MS = 300_000;
const BACKOFF = { firstMs: 1000, longestMs: 30_000 };

interface Offered {
  digest: string;
  /** When it is offered again at the latest; on the scale of performance.now(). */
  againAt: number;
}

/** Keeps the control plane's copy of a node's inventory up to date, part by part. A digest goes first; the part only where it is wanted. */
export class InventoryPush {
  readonly #options: InventoryPushOptions;
  readonly #backoff = new Backoff(BACKOFF);
  readonly #offered = new Map<InventoryPart, Offered>();
  #wake = new AbortController();

  constructor(options: InventoryPushOptions) {
    this.#options = options;
  }

  /** Offers all parts now: after a registration. */
  offerNow(): void {
    this.#offered.clear();
    this.#wake.abort();
  }

  /** Works until the signal aborts; never throws. */
  async run(signal: AbortSignal): Promise<void> {
    const { inventories, nodeId } = this.#options;
    let retryAt = 0;
    while (!signal.aborted) {
      if (this.#wake.signal.aborted) retryAt = 0;
      this.#wake = new AbortController();
      const id = nodeId();
      await inventories.readDue(signal);
      if (id !== null && !signal.aborted && performance.now() >= retryAt) {
        const isDone = await this.#offerAll(id, signal);
        if (isDone) this.#backoff.reset();
        retryAt = isDone ? 0 : performance.now() + this.#backoff.next();
      }
      const until = Math.min(inventories.nextAt, retryAt === 0 ? this.#nextOfferAt() : retryAt);
      await pause(Math.max(0, until - performance.now()), AbortSignal.any([signal, this.#wake.signal, inventories.ready]));
    }
  }

  /** False: the control plane could not be asked, and is to be asked again soon. */
  async #offerAll(nodeId: string, signal: AbortSignal): Promise<boolean> {
    for (const reading of this.#options.inventories.current) {
      const { part, digest } = reading;
      const known = this.#offered.get(part);
      if (known !== undefined && known.digest === digest && performance.now() < known.againAt) continue;
      try {
        await this.#offer(nodeId, reading, signal);
        this.#offered.set(part, { digest, againAt: performance.now() + jittered(OFFER_EVERY_MS, 0.1) });
      } catch (thrown) {
        if (signal.aborted) return false;
        const error = FleetError.from(thrown);
        const facts = { nodeId, inventory: nameOf(part), code: error.code, err: error };
        this.#options.log.warn(facts, "the inventory cannot be reported");
        if (reactionTo(error) === "retry" || doubtsConnection(error)) return false;
        this.#offered.set(part, { digest, againAt: performance.now() + jittered(REFUSED_PAUSE_MS, 0.1) });
      }
    }
    return true;
  }

  async #offer(nodeId: string, { part, content, digest, observedAt }: PartReading, signal: AbortSignal): Promise<void> {
    const { connection, log } = this.#options;
    const link = connection.linkFor(InventoryServiceDefinition.fullName);
    const offer = { nodeId, part, digest, observedAt };
    try {
      const { wanted } = await link.inventory.reportInventory(offer, { signal });
      if (!wanted) return;
      await link.inventory.reportInventory({ ...offer, ...content }, { signal });
      log.info({ nodeId, inventory: nameOf(part), digest: digest.slice(0, 12) }, "sent a part of the inventory");
    } catch (error) {
      connection.failed(link, FleetError.from(error));
      throw error;
    }
  }

  #nextOfferAt(): number {
    return Math.min(...[...this.#offered.values()].map(({ againAt }) => againAt));
  }
}

function nameOf(part: InventoryPart): string {
  return part.replace("INVENTORY_PART_", "");
}
