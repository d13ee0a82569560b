import "reflect-metadata";
import { BigIntType } from "@mikro-orm/core";
import { Entity, Property } from "@mikro-orm/decorators/legacy";

/** What is held of a node, as columns, so that the database can add it up; of an instance 0 where it is not managed. */
@Entity({ abstract: true })
export abstract class ResourceColumns {
  @Property({ type: "integer" })
  cpuCores!: number;

  @Property({ type: new BigIntType("number") })
  memoryBytes!: number;

  @Property({ type: new BigIntType("number") })
  diskBytes!: number;

  @Property({ type: "integer" })
  gpuCount!: number;
}
