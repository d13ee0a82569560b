import { BigIntType } from "@mikro-orm/core";
import { Embeddable, Property } from "@mikro-orm/decorators/legacy";

/** Resources as columns of their own, so that the database can add them up. All four are null, or none is. */
@Embeddable()
export class ResourcesColumns {
  @Property({ type: "integer" })
  cpuCores!: number;

  @Property({ type: new BigIntType("number") })
  memoryBytes!: number;

  @Property({ type: new BigIntType("number") })
  diskBytes!: number;

  @Property({ type: "integer" })
  gpuCount!: number;
}
