import { Field, ID, InputType, Int, ObjectType } from "type-graphql";
import { Int64 } from "../../../kit/graphql/scalars.ts";
import type { MigrationPreflight } from "../../services/migrations/migration-types.ts";
import { InstanceObject } from "../instance-type.ts";
import { NodeStub } from "../node-stub.ts";
import { TaskObject } from "../tasks/task-type.ts";

@InputType("MigrateInstanceInput")
export class MigrateInstanceInput {
  @Field(() => ID)
  instanceId!: string;

  @Field(() => ID, { nullable: true, description: "Null: the best node that passes all checks." })
  targetNodeId?: string | null;

  @Field(() => Int, {
    nullable: true,
    description:
      "The longest time that the guest may stand still, 1–60000 ms; null: 300. A guest that is too busy for it may stand still longer.",
  })
  maxDowntimeMs?: number | null;

  @Field(() => Int64, { nullable: true, description: "For the copy, at least 65536; null: no limit." })
  bandwidthBytesPerSecond?: number | null;

  @Field(() => String, { nullable: true, description: "The same id again gives the task that it made, and begins nothing." })
  clientRequestId?: string | null;
}

@ObjectType("MigrateInstancePayload", { simpleResolvers: true })
export class MigrateInstancePayload {
  @Field(() => TaskObject, { description: "Its kind is MIGRATION; its events tell how far it is, and the end." })
  task!: TaskObject;

  @Field(() => InstanceObject)
  instance!: InstanceObject;
}

@ObjectType("MigrationCheck", { description: "One thing that a migration needs.", simpleResolvers: true })
export class MigrationCheckObject {
  @Field(() => String, {
    description:
      "Of the control plane: Managed, Kind, State, Settled, SourceAgent, TargetNode, TargetRole, TargetAgent, Maintenance, InstanceType, Room, Leftovers. Of the hosts: CpuBaseline, MachineType, Networks, Images, HostDevices, Disks, Space, … More may come.",
  })
  name!: string;

  @Field(() => Boolean)
  passed!: boolean;

  @Field(() => String, { nullable: true, description: "What is missing, and what to do. Null where it passed." })
  message!: string | null;
}

@ObjectType("MigrationPreflight", { description: "What speaks for and against moving an instance.", simpleResolvers: true })
export class MigrationPreflightObject {
  @Field(() => Boolean)
  possible!: boolean;

  @Field(() => NodeStub, {
    nullable: true,
    description: "The target. Null where none was looked at, because of what the instance itself lacks.",
  })
  node!: NodeStub | null;

  @Field(() => [MigrationCheckObject], { description: "All that were made, passed or not." })
  checks!: MigrationCheckObject[];

  @Field(() => Boolean, { description: "The hosts do not share its disks: they are copied." })
  copiesDisks!: boolean;

  @Field(() => Int64, { description: "Of disks." })
  bytesToCopy!: number;
}

export function toPreflightObject({ targetNodeId, checks, copiesDisks, bytesToCopy }: MigrationPreflight): MigrationPreflightObject {
  return {
    possible: checks.every(({ passed }) => passed),
    node: targetNodeId === null ? null : { id: targetNodeId },
    checks: checks.map(({ message, ...check }) => ({ ...check, message: message || null })),
    copiesDisks,
    bytesToCopy,
  };
}
