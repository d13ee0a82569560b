import { Entity, PrimaryKey, Property } from "@mikro-orm/decorators/legacy";

/** An identity that was given a certificate. */
@Entity({ tableName: "agent" })
export class Agent {
  /** As in the certificate: fleetgraph://agent/<id>. */
  @PrimaryKey({ type: "string" })
  id!: string;

  @Property({ type: "string" })
  joinTokenId!: string;

  /** SHA-256 of the key that joined, hexadecimal: the same key may ask again with the same token. */
  @Property({ type: "string" })
  publicKeyHash!: string;

  @Property({ type: "datetime" })
  joinedAt!: Date;

  /** The end of the newest certificate. */
  @Property({ type: "datetime" })
  certificateNotAfter!: Date;
}
