import type { Task } from "../../entities/task.ts";
import type { TaskView } from "./task-types.ts";

/** The task as it is shown: in answers of both faces, and in events as it then was. */
export function taskView(task: Task): TaskView {
  return {
    id: task.id,
    kind: task.kind,
    state: task.state,
    status: task.status,
    currentBytes: task.currentBytes,
    totalBytes: task.totalBytes,
    errorCode: task.errorCode,
    errorReason: task.errorReason,
    errorMessage: task.errorMessage,
    instanceId: task.instanceId,
    nodeId: task.nodeId,
    groupId: task.groupId,
    input: task.input,
    cancelRequested: task.cancelRequested,
    createdBy: task.createdBy,
    createdAt: task.createdAt.toISOString(),
    startedAt: task.startedAt?.toISOString() ?? null,
    finishedAt: task.finishedAt?.toISOString() ?? null,
  };
}
