import { Embedded, Entity, PrimaryKey, Property } from "@mikro-orm/decorators/legacy";
import type { LeaseState, NodeState, Reported } from "../services/node-state.ts";
import type { Condition, NodeKind, NodeRole, NodeStatus, StringMap } from "../services/node-types.ts";
import { ResourcesColumns } from "./resources-columns.ts";

/** What a registration said about things that an operator may change, too: it counts again only when it says something else. */
export type RegisteredIntent = { region: string | null; zone: string | null; labels: StringMap | null; annotations: StringMap | null };

/** A host, in service or deregistered. What every heartbeat touches is in NodeLiveness. */
@Entity({ tableName: "node" })
export class Node implements NodeState {
  @PrimaryKey({ type: "string" })
  id!: string;

  /** In lower case; unique among nodes that are not deregistered. */
  @Property({ type: "string" })
  hostname!: string;

  @Property({ type: "string", nullable: true })
  ip!: string | null;

  @Property({ type: "integer", nullable: true })
  port!: number | null;

  @Property({ type: "string", nullable: true })
  role!: NodeRole | null;

  @Property({ type: "string" })
  kind!: NodeKind;

  @Property({ type: "string" })
  status!: NodeStatus;

  @Property({ type: "string", nullable: true })
  statusByHand!: NodeStatus | null;

  @Property({ type: "json", nullable: true })
  reported!: Reported | null;

  @Property({ type: "string" })
  lease!: LeaseState;

  @Property({ type: "datetime", nullable: true })
  leaseExpiredAt!: Date | null;

  @Property({ type: "boolean" })
  maintenance!: boolean;

  @Property({ type: "string", nullable: true })
  maintenanceReason!: string | null;

  @Property({ type: "datetime", nullable: true })
  maintenanceSince!: Date | null;

  @Property({ type: "string", nullable: true })
  region!: string | null;

  @Property({ type: "string", nullable: true })
  zone!: string | null;

  @Embedded(() => ResourcesColumns, { prefix: "capacity_", nullable: true })
  capacity!: ResourcesColumns | null;

  @Embedded(() => ResourcesColumns, { prefix: "allocated_", nullable: true })
  allocated!: ResourcesColumns | null;

  @Property({ type: "json" })
  supportedInstanceTypes!: string[];

  @Property({ type: "json" })
  conditions!: Condition[];

  @Property({ type: "json" })
  labels!: StringMap;

  @Property({ type: "json" })
  annotations!: StringMap;

  @Property({ type: "json", nullable: true })
  registered!: RegisteredIntent | null;

  @Property({ type: "string", nullable: true })
  uri!: string | null;

  /** Added by URI: the agent of another machine stands for it. */
  @Property({ type: "boolean" })
  bridged!: boolean;

  @Property({ type: "boolean" })
  simulated!: boolean;

  /** The host's /etc/machine-id, as its agent told it. */
  @Property({ type: "string", nullable: true })
  machineId!: string | null;

  /** The identity that holds the node; null for one that was registered by hand. */
  @Property({ type: "string", nullable: true })
  agentId!: string | null;

  /** Of the registration that made it. */
  @Property({ type: "string", nullable: true })
  clientRequestId!: string | null;

  @Property({ type: "datetime", nullable: true })
  deregisteredAt!: Date | null;

  @Property({ type: "datetime" })
  createdAt!: Date;

  @Property({ type: "datetime" })
  updatedAt!: Date;
}
