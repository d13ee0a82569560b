import "reflect-metadata";
import { BigIntType } from "@mikro-orm/core";
import { Entity, PrimaryKey, Property } from "@mikro-orm/decorators/legacy";
import type { DesiredState, InstanceSecrets, InstanceSpec, InstanceState, InstanceType, StringMap } from "../services/instance-types.ts";
import type { InstanceRecord } from "../services/state-machine.ts";
import { ResourceColumns } from "./resource-columns.ts";

/** A VM, a microVM or a container: one of ours, or one that was found on a host. Deleted ones stay for a while. */
@Entity({ tableName: "instance" })
export class Instance extends ResourceColumns implements InstanceRecord {
  @PrimaryKey({ type: "string" })
  id!: string;

  @Property({ type: "string" })
  name!: string;

  /** In lower case, for the filter. */
  @Property({ type: "string" })
  nameFolded!: string;

  @Property({ type: "string" })
  type!: InstanceType;

  @Property({ type: "string" })
  state!: InstanceState;

  /** Null where it is not managed. */
  @Property({ type: "string", nullable: true })
  desiredState!: DesiredState | null;

  @Property({ type: "string", nullable: true })
  stateReason!: string | null;

  @Property({ type: "text", nullable: true })
  errorMessage!: string | null;

  @Property({ type: "string", nullable: true })
  activity!: string | null;

  /** Whether it is, or was, on its host: one that was made is never made again. */
  @Property({ type: "boolean" })
  made!: boolean;

  @Property({ type: "boolean" })
  managed!: boolean;

  @Property({ type: "string" })
  nodeId!: string;

  /** Which placement this is. */
  @Property({ type: new BigIntType("number") })
  generation!: number;

  /** The highest that any of its placements was given since it can be moved, also one that came to nothing. */
  @Property({ type: new BigIntType("number") })
  highestGeneration!: number;

  /** Grows with each request; what the agent is told carries it. */
  @Property({ type: new BigIntType("number") })
  revision!: number;

  /** The newest revision that the agent is known to have. */
  @Property({ type: new BigIntType("number") })
  appliedRevision!: number;

  /** How many restarts were asked for. */
  @Property({ type: "integer" })
  restarts!: number;

  /** Of the last request. */
  @Property({ type: "boolean" })
  force!: boolean;

  /** Of the last request; 0: the agent's default. */
  @Property({ type: "integer" })
  stopTimeoutSeconds!: number;

  /** Of the last suspension: its memory goes to the host's disk. */
  @Property({ type: "boolean" })
  suspendToDisk!: boolean;

  @Property({ type: "string", nullable: true })
  nativeId!: string | null;

  /** Of one that was adopted. */
  @Property({ type: "string", nullable: true })
  adoptNativeId!: string | null;

  @Property({ type: "json" })
  ipAddresses!: string[];

  @Property({ type: "datetime", nullable: true })
  startedAt!: Date | null;

  @Property({ type: "integer", nullable: true })
  exitCode!: number | null;

  @Property({ type: "json" })
  spec!: InstanceSpec;

  /** Loaded only where it is asked for. */
  @Property({ type: "json", lazy: true })
  secrets!: InstanceSecrets;

  @Property({ type: "json" })
  labels!: StringMap;

  @Property({ type: "json" })
  annotations!: StringMap;

  /** Of the call that made it. */
  @Property({ type: "string", nullable: true })
  clientRequestId!: string | null;

  @Property({ type: "datetime" })
  createdAt!: Date;

  @Property({ type: "datetime" })
  updatedAt!: Date;

  @Property({ type: "datetime", nullable: true })
  deletedAt!: Date | null;
}
