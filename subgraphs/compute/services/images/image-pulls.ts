import { callerName, requireRole } from "../../../../platform/auth/identity.ts";
import { FleetError, invalidArgument } from "../../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import type { SecretKeys } from "../../../../platform/secrets/secret-keys.ts";
import type { EventLog } from "../../../kit/events/event-log.ts";
import { newId } from "../../../kit/ids.ts";
import { checkId } from "../../../kit/input-checks.ts";
import type { EntityManager } from "../../../kit/store/orm.ts";
import { Task } from "../../entities/task.ts";
import type { FleetView } from "../fleet-view.ts";
import type { InstanceTransaction, InstanceWriter } from "../instance-writer.ts";
import type { TaskRequests } from "../tasks/task-requests.ts";
import { TaskStore } from "../tasks/task-store.ts";
import { type NewTask, TASK_STREAM, type TaskView } from "../tasks/task-types.ts";
import { taskView } from "../tasks/task-view.ts";
import { checkPull, type PullOrder, type RawPull } from "./image-input.ts";
import { pullFrames } from "./pull-frames.ts";
import { pullNodes } from "./pull-placement.ts";
import { toInput } from "./pull-source.ts";
import { type ImagePullView, pullView } from "./pull-view.ts";

export interface ImagePullsParts {
  writer: InstanceWriter;
  log: EventLog;
  taskRequests: TaskRequests;
  fleet: FleetView;
  secrets: SecretKeys;
  strategy: "spread" | "pack";
}

/** Frames of one watch: at most two a second. */
const FRAME_PAUSE_MS = 500;

/**
 * Brings images to hosts: one task of the kind IMAGE_PULL for each node, which have the pull's id as their group. There is nothing else that
 * is kept of a pull.
 */
export class ImagePulls {
  readonly #parts: ImagePullsParts;
  readonly #tasks = new TaskStore();

  constructor(parts: ImagePullsParts) {
    this.#parts = parts;
  }

  /**
   * Begins a pull; it goes on whatever becomes of the caller. A `clientRequestId` that was used before gives the pull that it began, as it is
   * now. Rights: operator. Throws INVALID_ARGUMENT, NOT_FOUND (no such node), FAILED_PRECONDITION (reason Simulated), RESOURCE_EXHAUSTED
   * (reason NoNodeFits, with why for each; TooManyTasks), UNAVAILABLE while the nodes are not known.
   */
  async pull(ctx: RequestContext, raw: RawPull): Promise<ImagePullView> {
    requireRole(ctx.identity, "operator");
    const order = checkPull(raw);
    await this.#parts.fleet.whenKnown(ctx.signal);
    const createdBy = callerName(ctx.identity);
    return this.#parts.writer.transaction((instances) => this.#begin(instances, order, createdBy));
  }

  /** Rights: viewer. Throws NOT_FOUND, naming `field`. */
  async get(ctx: RequestContext, id: string, field = "pullId"): Promise<ImagePullView> {
    requireRole(ctx.identity, "viewer");
    return pullView(id, await this.#read(id, field));
  }

  /**
   * Ends what has not ended of a pull; on each host its end is told by the task, and by the frames. Rights: operator. Throws NOT_FOUND,
   * FAILED_PRECONDITION (reason PullEnded, details.status) where it is done or has failed already.
   */
  async cancel(ctx: RequestContext, id: string): Promise<ImagePullView> {
    requireRole(ctx.identity, "operator");
    const before = await this.get(ctx, id);
    if (before.status === "DONE" || before.status === "FAILED") throw pullEnded(before);
    for (const task of before.tasks) if (task.finishedAt === null) await this.#cancelOne(ctx, task.id);
    return this.get(ctx, id);
  }

  /**
   * The pull as it is now, then as it changes, at most twice a second, and at last as it ended; one that is over already has that frame
   * alone. Rights: viewer. Throws NOT_FOUND, naming `field`.
   */
  async watch(ctx: RequestContext, id: string, field = "pullId"): Promise<AsyncIterableIterator<ImagePullView>> {
    requireRole(ctx.identity, "viewer");
    const { log } = this.#parts;
    const after = await log.cursor(TASK_STREAM);
    const tasks = await this.#read(id, field);
    const ending = new AbortController();
    const signal = AbortSignal.any([ctx.signal, ending.signal]);
    const matches = ({ groupId }: TaskView) => groupId === id;
    const events = log.watch<TaskView>(TASK_STREAM, { after, matches, signal });
    const frames = pullFrames({ id, tasks, events, signal, pauseMs: FRAME_PAUSE_MS });
    const watch: AsyncIterableIterator<ImagePullView> = {
      [Symbol.asyncIterator]() {
        return this;
      },
      next: () => frames.next(),
      // A generator by itself would wait for what it waits for.
      return: async () => {
        ending.abort();
        return frames.return();
      },
    };
    return watch;
  }

  async #begin(instances: InstanceTransaction, order: PullOrder, createdBy: string): Promise<ImagePullView> {
    const id = newId("pull");
    const input = toInput(order.source, this.#parts.secrets);
    const task: NewTask = { kind: "IMAGE_PULL", input, groupId: id, createdBy };
    // The first of them stands for all: a request that is repeated finds it.
    const first = order.clientRequestId === null ? task : { ...task, clientRequestId: order.clientRequestId };
    const repeated = await this.#tasks.repeated(instances, first);
    if (repeated !== null) return repeatedPull(instances.em, repeated, input.imageRef);
    const nodeIds = await pullNodes(instances.em, this.#parts.fleet, order, this.#parts.strategy);
    const tasks: TaskView[] = [];
    for (const [index, nodeId] of nodeIds.entries()) {
      const created = await this.#tasks.create(instances, { ...(index === 0 ? first : task), nodeId });
      // Another replica was asked the same at the same time, and was first.
      if (created.groupId !== id) return repeatedPull(instances.em, created, input.imageRef);
      tasks.push(created);
    }
    return pullView(id, tasks);
  }

  async #cancelOne(ctx: RequestContext, taskId: string): Promise<void> {
    try {
      await this.#parts.taskRequests.cancel(ctx, taskId);
    } catch (error) {
      if (!(error instanceof FleetError) || error.reason !== "TaskEnded") throw error;
    }
  }

  async #read(id: string, field: string): Promise<TaskView[]> {
    checkId(field, id);
    const tasks = await this.#parts.writer.store.read((em) => tasksOf(em, id));
    if (tasks.length > 0) return tasks;
    throw new FleetError("NOT_FOUND", `The pull ${JSON.stringify(id)} does not exist, or is no longer kept.`, {
      details: { field, kind: "ImagePull", id },
    });
  }
}

async function tasksOf(em: EntityManager, groupId: string): Promise<TaskView[]> {
  return (await em.find(Task, { groupId, kind: "IMAGE_PULL" })).map(taskView);
}

async function repeatedPull(em: EntityManager, { id, groupId, input }: TaskView, imageRef: string): Promise<ImagePullView> {
  if (groupId === null || input["imageRef"] !== imageRef) {
    throw invalidArgument("clientRequestId", "This request id was used for something else.", { id: groupId ?? id });
  }
  return pullView(groupId, await tasksOf(em, groupId));
}

function pullEnded({ id, status }: ImagePullView): FleetError {
  return new FleetError("FAILED_PRECONDITION", `The pull has ended: it is ${status}.`, {
    reason: "PullEnded",
    details: { pullId: id, status },
  });
}
