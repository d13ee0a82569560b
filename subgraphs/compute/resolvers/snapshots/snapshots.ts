import { Arg, Ctx, FieldResolver, Mutation, Resolver, Root } from "type-graphql";
import { unavailableReason } from "../../../kit/agents/node-record.ts";
import type { AskedTask } from "../../services/snapshots/snapshot-requests.ts";
import type { ComputeContext } from "../compute-context.ts";
import { InstanceObject, toInstanceObject } from "../instance-type.ts";
import { toTaskObject } from "../tasks/task-type.ts";
import {
  CreateSnapshotInput,
  CreateSnapshotPayload,
  DeleteSnapshotInput,
  DeleteSnapshotPayload,
  InstanceSnapshotsObject,
  RevertSnapshotInput,
  RevertSnapshotPayload,
} from "./snapshot-types.ts";

@Resolver(() => InstanceObject)
export class SnapshotsResolver {
  @FieldResolver(() => InstanceSnapshotsObject, {
    nullable: true,
    description: "Read from its host for this request; containers have none. Rights: viewer.",
  })
  async snapshots(@Root() instance: InstanceObject, @Ctx() { request, services }: ComputeContext): Promise<InstanceSnapshotsObject> {
    const outcome = await services.snapshots.reads.list(request, instance);
    if ("snapshots" in outcome) return { nodes: outcome.snapshots, unavailable: [] };
    const { refusal } = outcome;
    return { nodes: null, unavailable: [{ field: "nodes", reason: unavailableReason(refusal), message: refusal.message }] };
  }

  @Mutation(() => CreateSnapshotPayload, {
    description:
      "Keeps what a VM's or microVM's disks are, and its memory where it runs. FAILED_PRECONDITION SnapshotsUnsupported ends the task of what cannot have one (UEFI variables, raw volumes). Rights: operator.",
  })
  async createSnapshot(
    @Arg("input", () => CreateSnapshotInput) { instanceId, ...snapshot }: CreateSnapshotInput,
    @Ctx() { request, services }: ComputeContext,
  ): Promise<CreateSnapshotPayload> {
    const asked = await services.snapshots.requests.create(request, instanceId, snapshot);
    return { ...toPayload(asked), snapshotId: String(asked.task.input["snapshotId"]) };
  }

  @Mutation(() => RevertSnapshotPayload, {
    description:
      "Makes disks, and memory if it has it, what they were; what is newer is lost. The instance is then what it was: running, or stopped. Rights: operator.",
  })
  async revertSnapshot(
    @Arg("input", () => RevertSnapshotInput) { instanceId, snapshotId, clientRequestId }: RevertSnapshotInput,
    @Ctx() { request, services }: ComputeContext,
  ): Promise<RevertSnapshotPayload> {
    return toPayload(await services.snapshots.requests.revert(request, instanceId, snapshotId, clientRequestId));
  }

  @Mutation(() => DeleteSnapshotPayload, { description: "Gives its room back; those made after it stay. Rights: operator." })
  async deleteSnapshot(
    @Arg("input", () => DeleteSnapshotInput) { instanceId, snapshotId, clientRequestId }: DeleteSnapshotInput,
    @Ctx() { request, services }: ComputeContext,
  ): Promise<DeleteSnapshotPayload> {
    return toPayload(await services.snapshots.requests.delete(request, instanceId, snapshotId, clientRequestId));
  }
}

function toPayload({ task, instance }: AskedTask): DeleteSnapshotPayload {
  return { task: toTaskObject(task), instance: toInstanceObject(instance) };
}
