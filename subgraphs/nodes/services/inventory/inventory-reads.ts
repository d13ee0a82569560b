import { requireRole } from "../../../../platform/auth/identity.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import type { AgentDirectory } from "../../../kit/agents/agent-directory.ts";
import type { NodeRecord } from "../../../kit/agents/node-record.ts";
import type { Store } from "../../../kit/store/orm.ts";
import { NodeInventoryPart } from "../../entities/node-inventory-part.ts";
import type { ContentOf, InventoryPartName } from "./inventory-parts.ts";

/** A part of a node's inventory as it is stored. */
export interface StoredInventory<Part extends InventoryPartName> {
  content: ContentOf<Part>;
  observedAt: Date;
}

/** Whether a node exists, as far as is known. `unknown`: the nodes have not been told yet. */
type NodePresence = { state: "present"; record: NodeRecord } | { state: "absent" | "unknown" };

/** Reads what agents have reported. */
export class InventoryReads {
  readonly #store: Store;
  readonly #directory: AgentDirectory;

  constructor(store: Store, directory: AgentDirectory) {
    this.#store = store;
    this.#directory = directory;
  }

  /** In one query, in the order of the ids; null where nothing was reported. Rights: viewer. */
  async read<Part extends InventoryPartName>(
    ctx: RequestContext,
    part: Part,
    nodeIds: readonly string[],
  ): Promise<Array<StoredInventory<Part> | null>> {
    requireRole(ctx.identity, "viewer");
    const fields = ["nodeId", "content", "observedAt"] as const;
    const rows = await this.#store.read((em) =>
      em.find(NodeInventoryPart, { nodeId: { $in: [...nodeIds] }, part }, { fields, disableIdentityMap: true }),
    );
    const byId = new Map(rows.map(({ nodeId, content, observedAt }) => [nodeId, { content: content as ContentOf<Part>, observedAt }]));
    return nodeIds.map((nodeId) => byId.get(nodeId) ?? null);
  }

  presence(nodeId: string): NodePresence {
    const record = this.#directory.get(nodeId);
    if (record) return { state: "present", record };
    return { state: this.#directory.synced ? "absent" : "unknown" };
  }

  /** Why a part of a node was never reported, as a word for `unavailable`. */
  missingReason(nodeId: string): string {
    const presence = this.presence(nodeId);
    if (presence.state !== "present") return "NOT_REPORTED_YET";
    if (presence.record.simulated) return "SIMULATED";
    return presence.record.agentId === null ? "NO_AGENT" : "NOT_REPORTED_YET";
  }
}
