import "reflect-metadata";
import { Entity, PrimaryKey, Property } from "@mikro-orm/decorators/legacy";
import type { InventoryPartName, StoredContent } from "../services/inventory/inventory-parts.ts";

/** One part of what a node is made of, as its agent last reported it. Kept while the node exists, also while the host is down. */
@Entity({ tableName: "node_inventory_part" })
export class NodeInventoryPart {
  @PrimaryKey({ type: "string" })
  nodeId!: string;

  @PrimaryKey({ type: "string" })
  part!: InventoryPartName;

  /** SHA-256 of the part as the agent serialised it, hexadecimal. */
  @Property({ type: "string" })
  digest!: string;

  /** JSON of the message: 64-bit integers are numbers, times ISO text; what is not set is left out. */
  @Property({ type: "json" })
  content!: StoredContent;

  /** When the agent read it, by the agent's clock, but never later than when it was reported by ours. An older one never replaces it. */
  @Property({ type: "datetime" })
  observedAt!: Date;

  /** When it was last confirmed, by our clock. */
  @Property({ type: "datetime" })
  reportedAt!: Date;
}
