import { type FilterQuery, LockMode } from "@mikro-orm/core";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import { databaseNow } from "../../../kit/store/clock.ts";
import type { JsonObject } from "../../../kit/store/json.ts";
import { Task } from "../../entities/task.ts";
import type { InstanceTransaction, InstanceWriter } from "../instance-writer.ts";
import { applyEnd, applyError, applyProgress, changeTask, lockTask } from "./task-changes.ts";
import type { TaskKind, TaskProgress, TaskView } from "./task-types.ts";
import { taskView } from "./task-view.ts";

/** A task that this process may work on. */
export interface ClaimedTask {
  task: TaskView;
  /** What tells this claim from every other one of the task. */
  claim: number;
  checkpoint: JsonObject | null;
  cancelRequested: boolean;
  failures: number;
  /** Since it was first claimed, in milliseconds. */
  elapsedMs: number;
}

export type Claim = Pick<ClaimedTask, "claim"> & { id: string };

/** Of the tasks that a process holds, those that it still does; true: it is to be cancelled. */
export type HeldClaims = Map<string, { claim: number; cancelRequested: boolean }>;

export interface TaskClaimsParts {
  writer: InstanceWriter;
  /** Tells this process from every other one, also from itself before a restart. */
  owner: string;
  leaseMs: number;
}

/** Who may work on which task: leases by the database's clock, and a number with each claim that fences off whoever lost one. */
export class TaskClaims {
  readonly #parts: TaskClaimsParts;

  constructor(parts: TaskClaimsParts) {
    this.#parts = parts;
  }

  /** Whether there may be something to claim: cheaper than trying. */
  async hasDue(kinds: readonly TaskKind[], except: readonly string[]): Promise<boolean> {
    const { store } = this.#parts.writer;
    return store.read(async (em) => {
      const now = await databaseNow(em, store.dialect);
      return (await em.findOne(Task, due(kinds, except, now), { fields: ["id"] })) !== null;
    });
  }

  /** Takes tasks that nobody holds, oldest first, of each kind at most as many as `free` says. */
  claim(free: ReadonlyMap<TaskKind, number>, except: readonly string[]): Promise<ClaimedTask[]> {
    const { writer, owner, leaseMs } = this.#parts;
    return writer.transaction(async (instances) => {
      const { em } = instances;
      const now = await databaseNow(em, writer.store.dialect);
      const claimed: ClaimedTask[] = [];
      for (const [kind, limit] of free) {
        // What another replica is just claiming is passed over.
        const options = { lockMode: LockMode.PESSIMISTIC_PARTIAL_WRITE, orderBy: { createdAt: "asc", id: "asc" }, limit } as const;
        for (const task of await em.find(Task, due([kind], except, now), options)) {
          changeTask(instances, task, () => {
            task.claim += 1;
            task.owner = owner;
            task.leaseUntil = now + leaseMs;
            task.begunAt ??= now;
            task.startedAt ??= new Date();
            task.state = "RUNNING";
            if (task.errorCode !== null) task.status = null;
            applyError(task, null);
          });
          claimed.push(claimedTask(task, now));
        }
      }
      return claimed;
    });
  }

  /** Holds on to them for another lease. What is missing in the answer was lost, or has ended. */
  renew(ids: readonly string[]): Promise<HeldClaims> {
    const { writer, owner, leaseMs } = this.#parts;
    return writer.transaction(async ({ em }) => {
      const now = await databaseNow(em, writer.store.dialect);
      const held = { id: { $in: [...ids] }, owner, finishedAt: null };
      await em.nativeUpdate(Task, held, { leaseUntil: now + leaseMs });
      const tasks = await em.find(Task, held, { fields: ["id", "claim", "cancelRequested"] });
      return new Map(tasks.map(({ id, claim, cancelRequested }) => [id, { claim, cancelRequested }]));
    });
  }

  /** Stores a checkpoint, with what is shown. */
  async save(claim: Claim, checkpoint: JsonObject, progress: TaskProgress): Promise<void> {
    await this.#change(claim, (task) => {
      task.checkpoint = checkpoint;
      task.failures = 0;
      applyProgress(task, progress);
    });
  }

  async tell(claim: Claim, progress: TaskProgress): Promise<void> {
    await this.#change(claim, (task) => applyProgress(task, progress));
  }

  /** SUCCEEDED, in one transaction with what `change` does. */
  async succeed(claim: Claim, progress: TaskProgress, change?: (instances: InstanceTransaction) => Promise<void>): Promise<void> {
    await this.#parts.writer.transaction(async (instances) => {
      const task = await lockClaimed(instances, claim);
      await change?.(instances);
      changeTask(instances, task, () => {
        applyProgress(task, progress);
        applyEnd(task, "SUCCEEDED", null);
      });
    });
  }

  async end(claim: Claim, state: "FAILED" | "CANCELLED", error: FleetError): Promise<void> {
    await this.#change(claim, (task) => applyEnd(task, state, error));
  }

  /** Tried again, by whichever replica, after `pauseMs`; at once where it is to be cancelled and the last run did not know that. */
  async postpone(claim: Claim, error: FleetError, pauseMs: number, knewOfCancel: boolean): Promise<void> {
    const { writer } = this.#parts;
    await writer.transaction(async (instances) => {
      const task = await lockClaimed(instances, claim);
      const now = await databaseNow(instances.em, writer.store.dialect);
      changeTask(instances, task, () => {
        task.leaseUntil = 0;
        task.notBefore = task.cancelRequested && !knewOfCancel ? 0 : now + pauseMs;
        task.failures += 1;
        task.status = "waiting";
        applyError(task, error);
      });
    });
  }

  /** Others may take it at once. */
  async release(claim: Claim): Promise<void> {
    await this.#change(claim, (task) => {
      task.leaseUntil = 0;
    });
  }

  async #change(claim: Claim, change: (task: Task) => void): Promise<void> {
    await this.#parts.writer.transaction(async (instances) => {
      const task = await lockClaimed(instances, claim);
      changeTask(instances, task, () => change(task));
    });
  }
}

/** What a run is told that another one has replaced. */
export function claimLost(): FleetError {
  return new FleetError("CANCELLED", "Another replica goes on with the task.", { reason: "TaskClaimLost" });
}

async function lockClaimed(instances: InstanceTransaction, { id, claim }: Claim): Promise<Task> {
  const task = await lockTask(instances, id);
  if (task === null || task.claim !== claim || task.finishedAt !== null) throw claimLost();
  return task;
}

function due(kinds: readonly TaskKind[], except: readonly string[], now: number): FilterQuery<Task> {
  return {
    kind: { $in: [...kinds] },
    finishedAt: null,
    leaseUntil: { $lte: now },
    notBefore: { $lte: now },
    ...(except.length === 0 ? {} : { id: { $nin: [...except] } }),
  };
}

function claimedTask(task: Task, now: number): ClaimedTask {
  return {
    task: taskView(task),
    claim: task.claim,
    checkpoint: task.checkpoint,
    cancelRequested: task.cancelRequested,
    failures: task.failures,
    elapsedMs: Math.max(0, now - (task.begunAt ?? now)),
  };
}
