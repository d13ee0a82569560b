import { FleetError } from "../../platform/errors/fleet-error.ts";
import type { Logger } from "../../platform/observability/log.ts";
import { InventoryServiceDefinition } from "../../schema/generated/proto/hypervisor/v1/agent.ts";
import type { Inventory } from "../hardware/inventory.ts";
import { Backoff, jittered, pause } from "./backoff.ts";
import type { ControlPlaneConnection } from "./connection.ts";
import { reactionTo } from "./refusals.ts";

export interface InventoryPushOptions {
  connection: ControlPlaneConnection;
  nodeId: () => string | null;
  /** Gets what it gave last. */
  read: (previous: Inventory | null) => Promise<Inventory>;
  log: Logger;
}

/** How often the hardware is read again: memory, CPUs and huge pages can come and go while a host runs. */
const READ_EVERY_MS = 60_000;
/** How often it is offered although nothing changed, in case the control plane lost it. */
const OFFER_EVERY_MS = 300_000;
const BACKOFF = { firstMs: 1000, longestMs: 30_000 };

/** Keeps the control plane's copy of a node's static inventory up to date. A digest goes first; the inventory only where it is wanted. */
export class InventoryPush {
  readonly #options: InventoryPushOptions;
  readonly #backoff = new Backoff(BACKOFF);
  #wake = new AbortController();
  #offered: { digest: string; at: number } | null = null;
  #last: Inventory | null = null;

  constructor(options: InventoryPushOptions) {
    this.#options = options;
  }

  /** Offers the inventory now: after a registration. */
  offerNow(): void {
    this.#offered = null;
    this.#wake.abort();
  }

  /** Works until the signal aborts; never throws. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#wake = new AbortController();
      let pauseMs = jittered(READ_EVERY_MS, 0.1);
      const nodeId = this.#options.nodeId();
      if (nodeId !== null) {
        try {
          await this.#offer(nodeId, signal);
          this.#backoff.reset();
        } catch (thrown) {
          if (signal.aborted) break;
          const error = FleetError.from(thrown);
          pauseMs = reactionTo(error) === "wait" ? jittered(OFFER_EVERY_MS, 0.1) : this.#backoff.next();
          this.#options.log.warn(
            { nodeId, code: error.code, err: error, pauseMs: Math.round(pauseMs) },
            "the inventory cannot be reported",
          );
        }
      }
      await pause(pauseMs, AbortSignal.any([signal, this.#wake.signal]));
    }
  }

  async #offer(nodeId: string, signal: AbortSignal): Promise<void> {
    const { connection, read, log } = this.#options;
    this.#last = await read(this.#last);
    const { hardware, digest, observedAt } = this.#last;
    const now = performance.now();
    const known = this.#offered;
    if (known !== null && known.digest === digest && now - known.at < OFFER_EVERY_MS) return;
    const link = connection.linkFor(InventoryServiceDefinition.fullName);
    const offer = { nodeId, digest, observedAt };
    try {
      const { wanted } = await link.inventory.reportInventory({ ...offer, hardware: undefined }, { signal });
      if (wanted) {
        await link.inventory.reportInventory({ ...offer, hardware }, { signal });
        log.info({ nodeId, digest: digest.slice(0, 12) }, "sent the hardware inventory");
      }
    } catch (error) {
      connection.failed(link, FleetError.from(error));
      throw error;
    }
    this.#offered = { digest, at: now };
  }
}
