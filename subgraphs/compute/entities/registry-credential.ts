import "reflect-metadata";
import { Entity, PrimaryKey, Property } from "@mikro-orm/decorators/legacy";

/** The account that hosts have with a registry, or with a server that images come from. */
@Entity({ tableName: "registry_credential" })
export class RegistryCredential {
  /** host, or host:port, in lower case. */
  @PrimaryKey({ type: "string" })
  registry!: string;

  @Property({ type: "string" })
  username!: string;

  /** A box of platform/secrets. */
  @Property({ type: "text", lazy: true })
  sealedPassword!: string;

  @Property({ type: "string" })
  updatedBy!: string;

  @Property({ type: "datetime" })
  updatedAt!: Date;
}
