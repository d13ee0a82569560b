import { FleetError, invalidArgument } from "../../../../platform/errors/fleet-error.ts";
import { newId } from "../../../kit/ids.ts";
import type { EntityManager } from "../../../kit/store/orm.ts";
import { Task } from "../../entities/task.ts";
import type { InstanceTransaction } from "../instance-writer.ts";
import { type NewTask, TASK_STREAM, type TaskView } from "./task-types.ts";
import { taskView } from "./task-view.ts";

/** Tasks that have not ended; beyond it none is taken. */
const MAX_OPEN = 10_000;

/** How tasks come to be. */
export class TaskStore {
  /**
   * Stores a task in the caller's transaction; a runner takes it once that is committed. A `clientRequestId` that was used before gives the
   * task that it made, as it is now. Throws CONFLICT (reason TaskUnderWay, details taskId and kind) where the instance has an exclusive one,
   * RESOURCE_EXHAUSTED (reason TooManyTasks), INVALID_ARGUMENT for a request id that made something else.
   */
  async create(instances: InstanceTransaction, task: NewTask): Promise<TaskView> {
    const { em, emit } = instances;
    const repeated = await this.repeated(instances, task);
    if (repeated !== null) return repeated;
    if ((await em.count(Task, { finishedAt: null })) >= MAX_OPEN) {
      throw new FleetError("RESOURCE_EXHAUSTED", `There are ${MAX_OPEN} tasks that have not ended: wait for some, or cancel them.`, {
        reason: "TooManyTasks",
      });
    }
    const row = newTask(task);
    // Another transaction may store its own meanwhile: this waits for its end, and then finds it instead of failing at the commit.
    await em.createQueryBuilder(Task).insert(row).onConflict().ignore().execute();
    const created = await em.findOne(Task, { id: row.id });
    if (created === null) return this.#conflicting(instances, task);
    const view = taskView(created);
    emit(TASK_STREAM, { type: "ADDED", objectId: view.id, object: view, previous: null });
    return view;
  }

  /**
   * The task that the same request made before; null without one. For callers that check more than `create` does: what they check may
   * have changed since, by the task itself. Throws INVALID_ARGUMENT where the id made something else.
   */
  async repeated({ em }: InstanceTransaction, task: NewTask): Promise<TaskView | null> {
    const { clientRequestId, kind, instanceId } = task;
    if (!clientRequestId) return null;
    const made = await em.findOne(Task, { clientRequestId });
    if (made === null) return null;
    if (made.kind !== kind || made.instanceId !== (instanceId ?? null)) {
      throw invalidArgument("clientRequestId", "This request id was used for another task.", { id: made.id });
    }
    return taskView(made);
  }

  async #conflicting(instances: InstanceTransaction, task: NewTask): Promise<TaskView> {
    const repeated = await this.repeated(instances, task);
    if (repeated !== null) return repeated;
    const other = task.instanceId === undefined ? null : await exclusiveTask(instances.em, task.instanceId);
    throw taskUnderWay(task.instanceId ?? "", other);
  }
}

/** The exclusive task of an instance that has not ended. */
export async function exclusiveTask(em: EntityManager, instanceId: string): Promise<TaskView | null> {
  const task = await em.findOne(Task, { instanceId, exclusive: true, finishedAt: null });
  return task && taskView(task);
}

export function taskUnderWay(instanceId: string, other: TaskView | null): FleetError {
  return new FleetError("CONFLICT", "Something else is being done with the instance: wait for its end, or cancel it.", {
    reason: "TaskUnderWay",
    details: { instanceId, ...(other === null ? {} : { taskId: other.id, kind: other.kind }) },
  });
}

function newTask({ kind, input, instanceId, nodeId, groupId, clientRequestId, exclusive, createdBy }: NewTask) {
  return {
    id: newId("task"),
    kind,
    state: "QUEUED" as const,
    status: null,
    currentBytes: null,
    totalBytes: null,
    errorCode: null,
    errorReason: null,
    errorMessage: null,
    input,
    instanceId: instanceId ?? null,
    nodeId: nodeId ?? null,
    groupId: groupId ?? null,
    cancelRequested: false,
    exclusive: exclusive ?? instanceId !== undefined,
    createdBy,
    clientRequestId: clientRequestId || null,
    checkpoint: null,
    claim: 0,
    owner: null,
    leaseUntil: 0,
    notBefore: 0,
    begunAt: null,
    failures: 0,
    createdAt: new Date(),
    startedAt: null,
    finishedAt: null,
  };
}
