import { Entity, PrimaryKey, Property } from "@mikro-orm/decorators/legacy";

/** When a node was last heard of. A row of its own, written in batches: heartbeats never wait for changes of the node, nor these for them. */
@Entity({ tableName: "node_liveness" })
export class NodeLiveness {
  @PrimaryKey({ type: "string" })
  nodeId!: string;

  /** By the clock of the replica that heard it; for people. */
  @Property({ type: "datetime", nullable: true })
  lastSeen!: Date | null;

  /** Moves with every batch in which a replica heard of the node: how the others know, without comparing clocks. */
  @Property({ type: "integer" })
  beats!: number;
}
