import "reflect-metadata";
import { BigIntType } from "@mikro-orm/core";
import { Entity, PrimaryKey, Property } from "@mikro-orm/decorators/legacy";

/** An agent that follows its list of bridged hosts, at whichever replica: it can be given hosts. */
@Entity({ tableName: "bridge_stream" })
export class BridgeStream {
  @PrimaryKey({ type: "string" })
  agentId!: string;

  /** Tells this stream from the agent's next one. */
  @Property({ type: "string" })
  streamId!: string;

  /** A node of the agent's own machine. */
  @Property({ type: "string" })
  nodeId!: string;

  /** Whether its configuration lets it stand for other hosts. */
  @Property({ type: "boolean" })
  willing!: boolean;

  /** By the database's clock, in milliseconds since 1970. A replica that was killed leaves it behind. */
  @Property({ type: new BigIntType("number") })
  seenAt!: number;
}
