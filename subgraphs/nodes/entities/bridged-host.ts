import "reflect-metadata";
import { BigIntType } from "@mikro-orm/core";
import { Entity, PrimaryKey, Property } from "@mikro-orm/decorators/legacy";
import type { HostKind, HostSettings, HostState } from "../services/hosts/host-types.ts";

/** A host that was added by URI, or is being added or deleted. One replica at a time has the claim on it. */
@Entity({ tableName: "bridged_host" })
export class BridgedHost {
  @PrimaryKey({ type: "string" })
  id!: string;

  /** Null until it is a node. */
  @Property({ type: "string", nullable: true })
  nodeId!: string | null;

  @Property({ type: "string" })
  hostname!: string;

  /** Without any secret. */
  @Property({ type: "string" })
  uri!: string;

  @Property({ type: "string" })
  kind!: HostKind;

  @Property({ type: "string" })
  state!: HostState;

  /** The agent that stands for it, or that is to; null before one has reached it. */
  @Property({ type: "string", nullable: true })
  agentId!: string | null;

  /** Grows each time it is given to another agent, or its access changes. */
  @Property({ type: "integer" })
  generation!: number;

  /** A box of platform/secrets with HostCredentials as JSON. */
  @Property({ type: "text", lazy: true })
  sealedCredentials!: string;

  /** "ssh-ed25519 AAAA…": what the host showed at first contact, or what was given. Empty without SSH. */
  @Property({ type: "json" })
  hostKeys!: string[];

  /** libvirt's name of the host, and its boot, as they were when it was added, or its access changed last: no two rows are the same machine. */
  @Property({ type: "string", nullable: true })
  hostUuid!: string | null;

  @Property({ type: "string", nullable: true })
  bootId!: string | null;

  /** What it is registered with, beside what the agents report. */
  @Property({ type: "json" })
  settings!: HostSettings;

  @Property({ type: "string", nullable: true })
  clientRequestId!: string | null;

  @Property({ type: "string" })
  addedBy!: string;

  /** How often it was claimed: who writes with another number than this has lost it. */
  @Property({ type: "integer" })
  claim!: number;

  /** Until then it is its claimant's; by the database's clock, in milliseconds since 1970; 0: nobody's. */
  @Property({ type: new BigIntType("number") })
  leaseUntil!: number;

  /** When it was given to its agent; the same clock. */
  @Property({ type: new BigIntType("number") })
  assignedAt!: number;

  @Property({ type: "datetime" })
  createdAt!: Date;
}
