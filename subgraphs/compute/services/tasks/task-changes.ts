import { LockMode } from "@mikro-orm/core";
import type { FleetError } from "../../../../platform/errors/fleet-error.ts";
import { Task } from "../../entities/task.ts";
import type { InstanceTransaction } from "../instance-writer.ts";
import { TASK_STREAM, type TaskProgress, type TaskState, type TaskView } from "./task-types.ts";
import { taskView } from "./task-view.ts";

/** A task to be changed: nobody else changes it until the transaction ends. */
export async function lockTask({ em }: InstanceTransaction, id: string): Promise<Task | null> {
  return em.findOne(Task, { id }, { lockMode: LockMode.PESSIMISTIC_WRITE });
}

/** Changes a locked task, and emits what became of it where somebody can see a difference. */
export function changeTask({ emit }: InstanceTransaction, task: Task, change: () => void): TaskView {
  const previous = taskView(task);
  change();
  const object = taskView(task);
  if (JSON.stringify(previous) !== JSON.stringify(object)) {
    emit(TASK_STREAM, { type: "MODIFIED", objectId: task.id, object, previous });
  }
  return object;
}

/** What is left out stays. */
export function applyProgress(task: Task, { status, currentBytes, totalBytes }: TaskProgress): void {
  if (status !== undefined) task.status = status;
  if (currentBytes !== undefined) task.currentBytes = currentBytes;
  if (totalBytes !== undefined) task.totalBytes = totalBytes;
}

export function applyError(task: Task, error: FleetError | null): void {
  task.errorCode = error?.code ?? null;
  task.errorReason = error?.reason ?? null;
  task.errorMessage = error?.message ?? null;
}

/** Nobody claims it any more. What was saved for another run is no longer needed. */
export function applyEnd(task: Task, state: Exclude<TaskState, "QUEUED" | "RUNNING">, error: FleetError | null): void {
  task.state = state;
  task.status = null;
  applyError(task, error);
  task.finishedAt = new Date();
  task.leaseUntil = 0;
  task.checkpoint = null;
}
