import type { CreateSnapshotRequest, NodeSnapshot } from "../../schema/generated/proto/hypervisor/v1/snapshots.ts";
import type { Ref } from "./instance-plan.ts";

/** Snapshots of instances. Errors as in snapshots.proto. */
export interface SnapshotDriver {
  listSnapshots(ref: Ref, signal: AbortSignal): Promise<NodeSnapshot[]>;
  createSnapshot(ref: Ref, request: CreateSnapshotRequest, signal: AbortSignal): Promise<NodeSnapshot>;
  revertSnapshot(ref: Ref, snapshotId: string, signal: AbortSignal): Promise<NodeSnapshot>;
  deleteSnapshot(ref: Ref, snapshotId: string, signal: AbortSignal): Promise<void>;
}
