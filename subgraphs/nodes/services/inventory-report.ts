import { LockMode, UniqueConstraintViolationException } from "@mikro-orm/core";
import { invalidArgument } from "../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../platform/request-context.ts";
import { HardwareInventory } from "../../../schema/generated/proto/hypervisor/v1/agent.ts";
import type { AgentDirectory } from "../../kit/agents/agent-directory.ts";
import { requireAgent, requireOwnNode } from "../../kit/agents/own-node.ts";
import type { Store } from "../../kit/store/orm.ts";
import { NodeInventory } from "../entities/node-inventory.ts";

/** What an agent says about a node's static hardware. Field names are those of the gRPC request. */
export interface InventoryOffer {
  nodeId: string;
  digest: string;
  /** Left out in the first, cheap call. */
  hardware: HardwareInventory | null;
  observedAt: Date | null;
}

type CheckedOffer = InventoryOffer & { observedAt: Date };

export interface InventoryReportParts {
  store: Store;
  directory: AgentDirectory;
  maxInventoryBytes: number;
}

/** The same inventory again moves `observedAt` at most this often. */
const CONFIRM_AFTER_MS = 60_000;

/** Takes the inventories that agents push. */
export class InventoryReport {
  readonly #parts: InventoryReportParts;

  constructor(parts: InventoryReportParts) {
    this.#parts = parts;
  }

  /**
   * True where the inventory itself is wanted: it is not the one that is stored. Rights: the node's own agent. Throws INVALID_ARGUMENT,
   * NOT_FOUND (no such node in service), FORBIDDEN (reason NotYourNode), UNAVAILABLE while it cannot be told whose the node is.
   */
  async report(ctx: RequestContext, offer: InventoryOffer): Promise<boolean> {
    requireAgent(ctx.identity);
    const checked = this.#check(offer);
    await requireOwnNode(this.#parts.directory, ctx, offer.nodeId);
    const answer = offer.hardware === null ? await this.#answerWithoutWriting(checked) : null;
    if (answer !== null) return answer;
    try {
      return await this.#save(checked);
    } catch (error) {
      // The first two reports of a node met: the second look finds the row of the other.
      if (error instanceof UniqueConstraintViolationException) return await this.#save(checked);
      throw error;
    }
  }

  #check({ nodeId, digest, hardware, observedAt }: InventoryOffer): CheckedOffer {
    if (nodeId === "" || nodeId.length > 128) throw invalidArgument("node_id", "node_id must name a node.");
    if (!/^[0-9a-f]{64}$/.test(digest)) throw invalidArgument("digest", "digest must be a SHA-256, 64 lower-case hexadecimal digits.");
    if (observedAt === null || Number.isNaN(observedAt.getTime())) throw invalidArgument("observed_at", "observed_at must be set.");
    if (hardware !== null && HardwareInventory.encode(hardware).finish().length > this.#parts.maxInventoryBytes) {
      throw invalidArgument("hardware", `hardware may have ${this.#parts.maxInventoryBytes} bytes.`);
    }
    // A host whose clock is ahead must not shut out what it reports once its clock is right again.
    return { nodeId, digest, hardware, observedAt: new Date(Math.min(observedAt.getTime(), Date.now())) };
  }

  /** What most offers come to; null where something is to be written. All agents offer at once when the control plane is back. */
  async #answerWithoutWriting({ nodeId, digest, observedAt }: CheckedOffer): Promise<boolean | null> {
    const known = await this.#parts.store.read((em) => em.findOne(NodeInventory, { nodeId }, { fields: ["digest", "observedAt"] }));
    if (known === null) return true;
    const newerMs = observedAt.getTime() - known.observedAt.getTime();
    if (newerMs < 0) return false;
    if (known.digest !== digest) return true;
    return newerMs < CONFIRM_AFTER_MS ? false : null;
  }

  #save({ nodeId, digest, hardware, observedAt }: CheckedOffer): Promise<boolean> {
    return this.#parts.store.transaction(async ({ em }) => {
      const known = await em.findOne(NodeInventory, { nodeId }, { lockMode: LockMode.PESSIMISTIC_WRITE });
      if (known && known.observedAt > observedAt) return false;
      if (known?.digest === digest) {
        Object.assign(known, { observedAt, reportedAt: new Date() });
        return false;
      }
      if (hardware === null) return true;
      const fields = { digest, hardware: toJson(hardware), observedAt, reportedAt: new Date() };
      if (known) Object.assign(known, fields);
      else em.create(NodeInventory, { nodeId, ...fields }, { persist: true });
      return false;
    });
  }
}

/** Without undefined members, as the database gives it back. */
function toJson(hardware: HardwareInventory): HardwareInventory {
  return JSON.parse(JSON.stringify(hardware)) as HardwareInventory;
}
