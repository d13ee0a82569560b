import { Field, ID, Int, ObjectType } from "type-graphql";
import { connectionType } from "../../../kit/graphql/connection.ts";
import { DateTime } from "../../../kit/graphql/scalars.ts";
import { WatchEventFields } from "../../../kit/graphql/shared-types.ts";
import type {
  InstancePolicy,
  OperationKind,
  OperationPhase,
  OperationState,
  OperationView,
} from "../../services/operations/operation-types.ts";
import { InstanceStub } from "../instance-stub.ts";
import { InstancePolicyEnum, NodeOperationKindEnum, NodeOperationPhaseEnum, NodeOperationStateEnum } from "./operation-enums.ts";

@ObjectType("NodeOperationError", { description: "Why an operation failed, or is being undone.", simpleResolvers: true })
export class NodeOperationErrorObject {
  @Field(() => String, { description: "As an error's extensions.code." })
  code!: string;

  @Field(() => String, {
    nullable: true,
    description: "As an error's extensions.reason: DidNotReturn, DidNotGoDown, EvacuationIncomplete, InstancesRunning, NodeGone, …",
  })
  reason!: string | null;

  @Field(() => String, { description: "For people." })
  message!: string;
}

@ObjectType("NodeEvacuationFailure", { description: "An instance that can be neither moved nor stopped as asked.", simpleResolvers: true })
export class NodeEvacuationFailureObject {
  @Field(() => InstanceStub, { nullable: true, description: "Null where it is no longer known." })
  instance!: InstanceStub | null;

  @Field(() => String)
  name!: string;

  @Field(() => String, { description: "ContainerNotMovable, InstanceSuspended, InstanceUnmanaged, NoNodeFits, MigrationNotPossible, …" })
  reason!: string;

  @Field(() => String, { description: "For people." })
  message!: string;
}

@ObjectType("NodeEvacuationProgress", { description: "How far instances are moved or stopped, in numbers of them.", simpleResolvers: true })
export class NodeEvacuationProgressObject {
  @Field(() => Int, { description: "That ran there since the operation began, or are on their way there." })
  total!: number;

  @Field(() => Int, { description: "That do not run there any more." })
  done!: number;

  @Field(() => Int, { description: "That are being moved or stopped." })
  underWay!: number;

  @Field(() => Int, { description: "That still run there and are not given up; those under way included." })
  remaining!: number;

  @Field(() => [NodeEvacuationFailureObject])
  failures!: NodeEvacuationFailureObject[];
}

/** `node` is resolved: see node-operations.ts. */
@ObjectType("NodeOperation", {
  description: "What is done to a node and takes long: it goes on whatever becomes of who asked for it, and over restarts.",
  simpleResolvers: true,
})
export class NodeOperationObject {
  @Field(() => ID)
  id!: string;

  @Field(() => ID)
  nodeId!: string;

  @Field(() => String, { description: "The node's, as it was when this was asked for." })
  hostname!: string;

  @Field(() => NodeOperationKindEnum)
  kind!: OperationKind;

  @Field(() => NodeOperationStateEnum)
  state!: OperationState;

  @Field(() => NodeOperationPhaseEnum)
  phase!: OperationPhase;

  @Field(() => InstancePolicyEnum)
  instances!: InstancePolicy;

  @Field(() => Int, { description: "Migrations at once." })
  maxParallel!: number;

  @Field(() => String, { nullable: true, description: "Of whoever asked for it." })
  reason!: string | null;

  @Field(() => NodeEvacuationProgressObject, {
    nullable: true,
    description: "Null where no instance is to leave, or none has been looked at.",
  })
  progress!: NodeEvacuationProgressObject | null;

  @Field(() => String, { nullable: true, description: "What it waits for now, for people." })
  waitingFor!: string | null;

  @Field(() => NodeOperationErrorObject, { nullable: true })
  error!: NodeOperationErrorObject | null;

  @Field(() => Boolean, { description: "Somebody asked for its end; what was begun is undone first." })
  cancelRequested!: boolean;

  @Field(() => String, { description: "Who asked for it." })
  requestedBy!: string;

  @Field(() => DateTime)
  createdAt!: string;

  @Field(() => DateTime, { nullable: true })
  finishedAt!: string | null;
}

export const NodeOperationConnection = connectionType(NodeOperationObject, "NodeOperation");

@ObjectType("NodeOperationEvent", {
  description: "What happened to an operation on a node. DELETED: it is no longer kept.",
  simpleResolvers: true,
})
export class NodeOperationEventObject extends WatchEventFields {
  @Field(() => NodeOperationObject, { nullable: true, description: "As it was after the event; null on BOOKMARK." })
  nodeOperation!: NodeOperationObject | null;
}

/** An operation as GraphQL shows it. */
export function toOperationObject({ errorCode, errorReason, errorMessage, progress, ...operation }: OperationView): NodeOperationObject {
  const failures = progress?.failures.map(({ instanceId, ...failure }) => ({ ...failure, instance: { id: instanceId } }));
  return {
    ...operation,
    progress: progress && { ...progress, failures: failures ?? [] },
    error: errorCode === null ? null : { code: errorCode, reason: errorReason, message: errorMessage ?? "" },
  };
}
