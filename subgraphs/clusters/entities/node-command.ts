import { Entity, PrimaryKey, Property } from "@mikro-orm/decorators/legacy";
import type { CommandType, StringMap } from "../services/node-types.ts";

/** Something a node's agent is to do. It goes out with every heartbeat answer until it is acknowledged. */
@Entity({ tableName: "node_command" })
export class NodeCommand {
  @PrimaryKey({ type: "string" })
  id!: string;

  @Property({ type: "string" })
  nodeId!: string;

  @Property({ type: "string" })
  type!: CommandType;

  @Property({ type: "json" })
  parameters!: StringMap;

  @Property({ type: "datetime" })
  createdAt!: Date;

  @Property({ type: "datetime", nullable: true })
  acknowledgedAt!: Date | null;
}
