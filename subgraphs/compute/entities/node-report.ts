import "reflect-metadata";
import { BigIntType } from "@mikro-orm/core";
import { Entity, PrimaryKey, Property } from "@mikro-orm/decorators/legacy";
import type { TypeSupport } from "../services/report-input.ts";

/** How far a node's agent has told what is there. */
@Entity({ tableName: "node_report" })
export class NodeReport {
  @PrimaryKey({ type: "string" })
  nodeId!: string;

  /** Whose reports are counted; null: nobody's yet. */
  @Property({ type: "string", nullable: true })
  agentId!: string | null;

  /** Of the last report that was taken. */
  @Property({ type: new BigIntType("number") })
  session!: number;

  @Property({ type: new BigIntType("number") })
  sequence!: number;

  /** What the last full report said that the host can run. */
  @Property({ type: "json" })
  typeSupport!: TypeSupport[];

  /** By our clock; null before the first of the session. */
  @Property({ type: "datetime", nullable: true })
  fullAt!: Date | null;

  @Property({ type: "datetime" })
  reportedAt!: Date;
}
