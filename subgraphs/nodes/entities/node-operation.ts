import "reflect-metadata";
import { BigIntType } from "@mikro-orm/core";
import { Entity, PrimaryKey, Property } from "@mikro-orm/decorators/legacy";
import type {
  InstancePolicy,
  OperationKind,
  OperationPhase,
  OperationProgress,
  OperationRecord,
  OperationState,
} from "../services/operations/operation-types.ts";

/** What is done to a node, or was. One that has not ended is continued by any replica. */
@Entity({ tableName: "node_operation" })
export class NodeOperation implements OperationRecord {
  @PrimaryKey({ type: "string" })
  id!: string;

  @Property({ type: "string" })
  nodeId!: string;

  /** As it was called then. */
  @Property({ type: "string" })
  hostname!: string;

  @Property({ type: "string" })
  kind!: OperationKind;

  @Property({ type: "string" })
  state!: OperationState;

  @Property({ type: "string" })
  phase!: OperationPhase;

  @Property({ type: "string" })
  instances!: InstancePolicy;

  @Property({ type: "integer" })
  maxParallel!: number;

  @Property({ type: "text", nullable: true })
  reason!: string | null;

  @Property({ type: "string" })
  requestedBy!: string;

  @Property({ type: "string", nullable: true })
  clientRequestId!: string | null;

  @Property({ type: new BigIntType("number") })
  deadlineMs!: number;

  @Property({ type: "boolean" })
  cancelRequested!: boolean;

  @Property({ type: "string", nullable: true })
  bootId!: string | null;

  @Property({ type: "boolean" })
  ordered!: boolean;

  @Property({ type: "boolean", nullable: true })
  formerMaintenance!: boolean | null;

  @Property({ type: "text", nullable: true })
  formerReason!: string | null;

  @Property({ type: "json", nullable: true })
  progress!: OperationProgress | null;

  @Property({ type: "text", nullable: true })
  waitingFor!: string | null;

  @Property({ type: "string", nullable: true })
  outcome!: "FAILED" | "CANCELLED" | null;

  @Property({ type: "string", nullable: true })
  errorCode!: string | null;

  @Property({ type: "string", nullable: true })
  errorReason!: string | null;

  @Property({ type: "text", nullable: true })
  errorMessage!: string | null;

  @Property({ type: new BigIntType("number") })
  phaseUntil!: number;

  @Property({ type: new BigIntType("number"), nullable: true })
  silentSince!: number | null;

  @Property({ type: "integer" })
  failures!: number;

  /** How often it was claimed: who writes with another number than this has lost it. */
  @Property({ type: "integer" })
  claim!: number;

  /** Until then a replica is taking a step. By the database's clock, in milliseconds since 1970, as the next one; 0: nobody is. */
  @Property({ type: new BigIntType("number") })
  leaseUntil!: number;

  /** No step before that. */
  @Property({ type: new BigIntType("number") })
  notBefore!: number;

  @Property({ type: "datetime" })
  createdAt!: Date;

  @Property({ type: "datetime", nullable: true })
  finishedAt!: Date | null;
}
