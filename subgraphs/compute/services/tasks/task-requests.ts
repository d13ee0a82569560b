import { requireRole } from "../../../../platform/auth/identity.ts";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import { checkId } from "../../../kit/input-checks.ts";
import type { InstanceWriter } from "../instance-writer.ts";
import { applyEnd, changeTask, lockTask } from "./task-changes.ts";
import { cancelled } from "./task-outcome.ts";
import type { TaskRunner } from "./task-runner.ts";
import type { TaskView } from "./task-types.ts";

/** What people ask of tasks. */
export class TaskRequests {
  readonly #writer: InstanceWriter;
  readonly #isDecided: TaskRunner["isDecided"];

  constructor(writer: InstanceWriter, isDecided: TaskRunner["isDecided"]) {
    this.#writer = writer;
    this.#isDecided = isDecided;
  }

  /**
   * Rights: operator. One that has not begun is CANCELLED at once; otherwise its run is told, on whichever replica, and its events tell the
   * end: it may still succeed. Asked for twice is asked for once. Throws NOT_FOUND, FAILED_PRECONDITION (reason TaskEnded, details.state;
   * reason TooLateToCancel where it is completed whatever happens).
   */
  async cancel(ctx: RequestContext, id: string): Promise<TaskView> {
    requireRole(ctx.identity, "operator");
    checkId("taskId", id);
    return this.#writer.transaction(async (instances) => {
      const task = await lockTask(instances, id);
      if (task === null) throw taskNotFound(id);
      if (task.state === "SUCCEEDED" || task.state === "FAILED") throw taskEnded(id, task.state);
      if (task.finishedAt === null && this.#isDecided(task.kind, task.checkpoint)) throw tooLate(id);
      return changeTask(instances, task, () => {
        task.cancelRequested = true;
        // Between two tries it is not waited for.
        task.notBefore = 0;
        if (task.claim === 0 && task.finishedAt === null) applyEnd(task, "CANCELLED", cancelled());
      });
    });
  }
}

function tooLate(taskId: string): FleetError {
  return new FleetError("FAILED_PRECONDITION", "The task has gone too far to be cancelled: it is completed.", {
    reason: "TooLateToCancel",
    details: { taskId },
  });
}

export function taskNotFound(id: string, field = "taskId"): FleetError {
  return new FleetError("NOT_FOUND", `Task ${JSON.stringify(id.slice(0, 128))} does not exist, or is no longer kept.`, {
    details: { field, kind: "Task", id: id.slice(0, 128) },
  });
}

function taskEnded(taskId: string, state: TaskView["state"]): FleetError {
  return new FleetError("FAILED_PRECONDITION", `The task has ended: it is ${state}.`, { reason: "TaskEnded", details: { taskId, state } });
}
