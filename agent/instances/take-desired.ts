import { FleetError, invalidArgument } from "../../platform/errors/fleet-error.ts";
import { DesiredState } from "../../schema/generated/proto/hypervisor/v1/compute.ts";
import type { ApplyInstanceRequest } from "../../schema/generated/proto/hypervisor/v1/instances.ts";
import { REQUESTED } from "./native-view.ts";
import { firstProgress, goalOf, type Progress, stopTimeoutMs } from "./progress.ts";

/** An instance that the agent keeps: what it is to be, and how far it is. */
export interface InstanceRecord {
  desired: ApplyInstanceRequest;
  progress: Progress;
}

/** What is remembered of one that was removed: that nothing of it is to run again. */
export interface Tombstone {
  instanceId: string;
  nodeId: string;
  generation: number;
  revision: number;
  /** Milliseconds since the epoch. */
  deletedAt: number;
}

/** What is known of an instance's id. */
export type Known = { kind: "nothing" } | { kind: "record"; record: InstanceRecord } | { kind: "tombstone"; tombstone: Tombstone };

/** Null: nothing changes by it. `revision`: the highest that the agent has then. */
export interface Taken {
  record: InstanceRecord | null;
  revision: number;
}

/**
 * What a message of the control plane changes. Pure. Throws FAILED_PRECONDITION (reason StaleGeneration) for a placement that was replaced
 * or removed, INVALID_ARGUMENT for another type.
 */
export function takeDesired(known: Known, desired: ApplyInstanceRequest, now: number): Taken {
  if (known.kind === "nothing") return { record: { desired, progress: firstProgress(desired) }, revision: desired.revision };
  if (known.kind === "tombstone") return takeAfterDeletion(known.tombstone, desired);
  const { record } = known;
  const before = record.desired;
  if (desired.generation < before.generation) throw staleGeneration(before.generation);
  if (desired.generation > before.generation) return { record: replaced(record, desired), revision: desired.revision };
  if (desired.revision <= before.revision) return { record: null, revision: before.revision };
  if (desired.desiredState === DesiredState.DELETED) {
    // A removal may come without all that is known here.
    const { spec, type, adoptNativeId } = before;
    const full = { ...desired, spec: desired.spec ?? spec, type, adoptNativeId };
    return { record: { desired: full, progress: revised(record.progress, full, now) }, revision: desired.revision };
  }
  if (desired.type !== before.type) throw invalidArgument("type", "An instance keeps its type: delete it, and make another.");
  return { record: { desired, progress: revised(record.progress, desired, now) }, revision: desired.revision };
}

function takeAfterDeletion({ generation, revision }: Tombstone, desired: ApplyInstanceRequest): Taken {
  if (desired.generation > generation) return { record: { desired, progress: firstProgress(desired) }, revision: desired.revision };
  if (desired.generation < generation) throw staleGeneration(generation);
  // It came late, or asks for what has been done.
  if (desired.revision <= revision || desired.desiredState === DesiredState.DELETED)
    return { record: null, revision: Math.max(revision, desired.revision) };
  throw staleGeneration(generation);
}

export function staleGeneration(highestGeneration: number): FleetError {
  return new FleetError("FAILED_PRECONDITION", "This placement of the instance has been replaced, or removed.", {
    reason: "StaleGeneration",
    details: { highestGeneration },
  });
}

/** A new placement on the same host. What an earlier one left goes first, unless this one is to go on with it. */
function replaced({ progress }: InstanceRecord, desired: ApplyInstanceRequest): InstanceRecord {
  const first = firstProgress(desired);
  const hasLeft = progress.made || progress.making || progress.leftover;
  const { bootId, nativeId, up, shown, size } = progress;
  if (desired.madeBefore && desired.adoptNativeId === "")
    return { desired, progress: { ...first, bootId, nativeId, up, shown, size, making: first.making || progress.making } };
  return { desired, progress: { ...first, bootId, leftover: hasLeft && first.goal !== "DELETED" } };
}

function revised(before: Progress, desired: ApplyInstanceRequest, now: number): Progress {
  const goal = goalOf(desired.desiredState);
  const { stopping, shown } = before;
  return {
    ...before,
    goal,
    reached: false,
    failure: null,
    killedAt: null,
    // A guest that was asked to shut down does so; it has no more time than either of the two gave it.
    stopping: stopping === null ? null : { ...stopping, until: Math.min(stopping.until, now + stopTimeoutMs(desired)), timedOut: false },
    shown: shown.message === "" ? shown : { ...shown, reason: REQUESTED, message: "" },
  };
}
