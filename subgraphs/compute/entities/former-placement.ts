import "reflect-metadata";
import { BigIntType } from "@mikro-orm/core";
import { Entity, PrimaryKey, Property } from "@mikro-orm/decorators/legacy";

/** A node that an instance has left, or did not get to, and that may still have something of it. Gone once its agent says that nothing is left. */
@Entity({ tableName: "former_placement" })
export class FormerPlacement {
  @PrimaryKey({ type: "string" })
  instanceId!: string;

  @PrimaryKey({ type: "string" })
  nodeId!: string;

  /** Of the placement that ended. */
  @Property({ type: new BigIntType("number") })
  generation!: number;

  /** Above all that its agent was told of the placement. */
  @Property({ type: new BigIntType("number") })
  revision!: number;

  /** Its disks are those of the instance where it is now. */
  @Property({ type: "boolean" })
  keepDisks!: boolean;

  /** The migration that ended it. */
  @Property({ type: "string" })
  migrationId!: string;

  /** "SOURCE": the instance left it; "TARGET": it came to nothing there. */
  @Property({ type: "string" })
  side!: "SOURCE" | "TARGET";

  /** What the destination's end gave, for the source's. */
  @Property({ type: "text" })
  cookie!: string;

  @Property({ type: "datetime" })
  createdAt!: Date;
}
