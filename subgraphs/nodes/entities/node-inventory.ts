import "reflect-metadata";
import { Entity, PrimaryKey, Property } from "@mikro-orm/decorators/legacy";
import type { HardwareInventory } from "../../../schema/generated/proto/hypervisor/v1/agent.ts";

/** The static hardware of one node, as its agent last reported it. Kept while the node exists, also while the host is down. */
@Entity({ tableName: "node_inventory" })
export class NodeInventory {
  @PrimaryKey({ type: "string" })
  nodeId!: string;

  /** SHA-256 of the inventory as the agent serialised it, hexadecimal. */
  @Property({ type: "string" })
  digest!: string;

  /** JSON of the message: 64-bit integers are numbers. */
  @Property({ type: "json" })
  hardware!: HardwareInventory;

  /** When the agent read it, by the agent's clock, but never later than when it was reported by ours. An older one never replaces it. */
  @Property({ type: "datetime" })
  observedAt!: Date;

  /** When it was last confirmed, by our clock. */
  @Property({ type: "datetime" })
  reportedAt!: Date;
}
