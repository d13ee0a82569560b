import { Field, ID, InputType, ObjectType, registerEnumType } from "type-graphql";
import { enumOf } from "../../../kit/graphql/enum-of.ts";
import { DateTime } from "../../../kit/graphql/scalars.ts";
import { QUIESCE_MODES, type QuiesceMode, SNAPSHOT_STATES, type SnapshotState } from "../../services/snapshots/snapshot-types.ts";
import { UnavailableReadingObject } from "../instance-stats-type.ts";
import { InstanceObject } from "../instance-type.ts";
import { TaskObject } from "../tasks/task-type.ts";

const SnapshotStateEnum = enumOf(SNAPSHOT_STATES);
registerEnumType(SnapshotStateEnum, { name: "SnapshotState", description: "What an instance was when its snapshot was made." });

const QuiesceEnum = enumOf(QUIESCE_MODES);
registerEnumType(QuiesceEnum, {
  name: "Quiesce",
  description: "Whether the guest's agent freezes its file systems while a snapshot is made.",
  valuesConfig: {
    AUTO: { description: "Where there is an agent in the guest." },
    NEVER: { description: "Not even then." },
    REQUIRED: { description: "No snapshot without it." },
  },
});

@ObjectType("Snapshot", { description: "What an instance's disks, and its memory, were.", simpleResolvers: true })
export class SnapshotObject {
  @Field(() => ID, { description: "Unique in its instance." })
  id!: string;

  @Field(() => String)
  name!: string;

  @Field(() => String, { nullable: true })
  description!: string | null;

  @Field(() => DateTime, { nullable: true, description: "By its host's clock." })
  createdAt!: Date | null;

  @Field(() => SnapshotStateEnum)
  state!: SnapshotState;

  @Field(() => Boolean, { description: "Whether the guest goes on where it was, or boots." })
  hasMemory!: boolean;

  @Field(() => Boolean, { description: "Whether the guest's agent froze its file systems for it." })
  quiesced!: boolean;

  @Field(() => String, { nullable: true, description: "Why not, in one word: NoGuestAgent, GuestAgentFailed, NotAsked, NotRunning." })
  notQuiescedReason!: string | null;

  @Field(() => ID, { nullable: true, description: "Of the one that it was made on top of." })
  parentId!: string | null;

  @Field(() => Boolean, { description: "Whether the instance stands on it now." })
  current!: boolean;

  @Field(() => Boolean, { description: "False: others made it, on its host." })
  managed!: boolean;
}

@ObjectType("InstanceSnapshots", { description: "The snapshots of an instance, as its host tells them now.", simpleResolvers: true })
export class InstanceSnapshotsObject {
  @Field(() => [SnapshotObject], { nullable: true, description: "Oldest first; null where they cannot be read." })
  nodes!: SnapshotObject[] | null;

  @Field(() => [UnavailableReadingObject], { description: "Why they are null." })
  unavailable!: UnavailableReadingObject[];
}

@InputType("CreateSnapshotInput")
export class CreateSnapshotInput {
  @Field(() => ID)
  instanceId!: string;

  @Field(() => String, { nullable: true, description: "For people; up to 253 characters. Without one, its id." })
  name?: string | null;

  @Field(() => String, { nullable: true, description: "Up to 4096 characters." })
  description?: string | null;

  @Field(() => QuiesceEnum, { nullable: true, description: "AUTO where it is left out." })
  quiesce?: QuiesceMode | null;

  @Field(() => String, { nullable: true, description: "Up to 128 characters; a call with one that was used before makes none." })
  clientRequestId?: string | null;
}

@InputType()
abstract class OneSnapshotInput {
  @Field(() => ID)
  instanceId!: string;

  @Field(() => ID)
  snapshotId!: string;

  @Field(() => String, { nullable: true, description: "Up to 128 characters; a call with one that was used before does nothing more." })
  clientRequestId?: string | null;
}

@InputType("RevertSnapshotInput")
export class RevertSnapshotInput extends OneSnapshotInput {}

@InputType("DeleteSnapshotInput")
export class DeleteSnapshotInput extends OneSnapshotInput {}

@ObjectType()
abstract class SnapshotTaskPayload {
  @Field(() => TaskObject, { description: "Its events tell the end." })
  task!: TaskObject;

  @Field(() => InstanceObject)
  instance!: InstanceObject;
}

@ObjectType("CreateSnapshotPayload", { simpleResolvers: true })
export class CreateSnapshotPayload extends SnapshotTaskPayload {
  @Field(() => ID, { description: "Of the snapshot that is being made." })
  snapshotId!: string;
}

@ObjectType("RevertSnapshotPayload", { simpleResolvers: true })
export class RevertSnapshotPayload extends SnapshotTaskPayload {}

@ObjectType("DeleteSnapshotPayload", { simpleResolvers: true })
export class DeleteSnapshotPayload extends SnapshotTaskPayload {}
