import { LockMode } from "@mikro-orm/core";
import type { Logger } from "../../../../platform/observability/log.ts";
import { systemContext } from "../../../../platform/request-context.ts";
import type { AgentDirectory } from "../../../kit/agents/agent-directory.ts";
import type { Store } from "../../../kit/store/orm.ts";
import { NodeInventoryPart } from "../../entities/node-inventory-part.ts";
import { hardwareGone } from "./hardware-changes.ts";
import { emitHardwareChange } from "./hardware-events.ts";

export interface InventoryCleanUpParts {
  store: Store;
  directory: AgentDirectory;
  log: Logger;
  retryMs: number;
}

/** Nodes that are looked at in one statement. */
const BATCH = 500;

/**
 * Drops the inventories of nodes that are gone: when the directory tells so, and after each snapshot those whose node went while nobody
 * looked. Several replicas may do the same. What fails is tried again.
 */
export class InventoryCleanUp {
  readonly #parts: InventoryCleanUpParts;
  readonly #gone = new Set<string>();
  readonly #stopping = new AbortController();
  readonly #forget: () => void;
  #isSweepDue = false;
  #running: Promise<void> | null = null;
  #retry: NodeJS.Timeout | undefined;

  constructor(parts: InventoryCleanUpParts) {
    this.#parts = parts;
    this.#forget = parts.directory.listen({
      onGone: (nodeId) => {
        this.#gone.add(nodeId);
        this.#wake();
      },
      onSnapshot: () => {
        this.#isSweepDue = true;
        this.#wake();
      },
    });
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#forget();
    clearTimeout(this.#retry);
    await this.#running;
  }

  #wake(): void {
    if (this.#running !== null || this.#stopping.signal.aborted) return;
    clearTimeout(this.#retry);
    this.#running = this.#work()
      .catch((error: unknown) => {
        this.#parts.log.warn({ err: error }, "inventories of deleted nodes were not dropped; trying again");
        this.#retry = setTimeout(() => this.#wake(), this.#parts.retryMs);
        this.#retry.unref();
      })
      .finally(() => {
        this.#running = null;
      });
  }

  async #work(): Promise<void> {
    while (!this.#stopping.signal.aborted && (this.#gone.size > 0 || this.#isSweepDue)) {
      await this.#dropGone();
      if (this.#isSweepDue) {
        await this.#sweep();
        this.#isSweepDue = false;
      }
    }
  }

  async #dropGone(): Promise<void> {
    const batch = [...this.#gone].slice(0, BATCH);
    // A node that was admitted again in the meantime keeps what it reported since.
    for (const nodeId of batch) if (this.#parts.directory.get(nodeId) === undefined) await this.#drop(nodeId);
    for (const nodeId of batch) this.#gone.delete(nodeId);
  }

  async #sweep(): Promise<void> {
    const { store, directory, log } = this.#parts;
    const ctx = systemContext("nodes", this.#stopping.signal, log);
    for (let after = ""; !this.#stopping.signal.aborted; ) {
      const rows = await store.read((em) =>
        em.execute<Array<{ node_id: string }>>(
          "select distinct node_id from node_inventory_part where node_id > ? order by node_id limit ?",
          [after, BATCH],
        ),
      );
      for (const { node_id: nodeId } of rows) {
        // Only a report that overtook the watch can be of a node that the snapshot does not hold.
        if (directory.get(nodeId) === undefined && (await directory.lookUp(nodeId, ctx)) === null) this.#gone.add(nodeId);
      }
      const last = rows.at(-1);
      if (!last || rows.length < BATCH) return;
      after = last.node_id;
    }
  }

  /** One node at a time: each of its devices is told of. */
  async #drop(nodeId: string): Promise<void> {
    const dropped = await this.#parts.store.transaction(async ({ em, emit }) => {
      const rows = await em.find(NodeInventoryPart, { nodeId }, { lockMode: LockMode.PESSIMISTIC_WRITE });
      for (const { part, content } of rows) for (const change of hardwareGone(part, content)) emitHardwareChange(emit, nodeId, change);
      em.remove(rows);
      return rows.length;
    });
    if (dropped > 0) this.#parts.log.info({ nodeId }, "dropped the inventory of a deleted node");
  }
}
