import { Entity, PrimaryKey, Property } from "@mikro-orm/decorators/legacy";

/** A right to join. The secret itself is nowhere but in the token. */
@Entity({ tableName: "join_token" })
export class JoinToken {
  @PrimaryKey({ type: "string" })
  id!: string;

  /** SHA-256 of the secret, hexadecimal. */
  @Property({ type: "string" })
  secretHash!: string;

  @Property({ type: "integer" })
  usesLeft!: number;

  @Property({ type: "datetime" })
  expiresAt!: Date;

  @Property({ type: "datetime" })
  createdAt!: Date;
}
