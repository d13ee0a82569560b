import { LockMode } from "@mikro-orm/core";
import type { RequestContext } from "../../../../platform/request-context.ts";
import { Task } from "../../entities/task.ts";
import type { InstanceWriter } from "../instance-writer.ts";
import { TASK_STREAM } from "./task-types.ts";
import { taskView } from "./task-view.ts";

/** Tasks that are dropped in one transaction. */
const BATCH = 200;
/** Ended tasks that are kept at most, however young. */
const MAX_ENDED = 50_000;

/** Drops ended tasks that have been kept for long enough, or that are too many, oldest first. Several replicas may do the same. */
export async function dropEndedTasks(
  ctx: RequestContext,
  writer: InstanceWriter,
  retentionMs: number,
  maxEnded = MAX_ENDED,
): Promise<void> {
  for (let dropped = BATCH; dropped === BATCH && !ctx.signal.aborted; ) {
    dropped = await dropBatch(writer, new Date(Date.now() - retentionMs), maxEnded);
    if (dropped > 0) ctx.log.info({ dropped }, "ended tasks have been kept for long enough");
  }
}

function dropBatch(writer: InstanceWriter, before: Date, maxEnded: number): Promise<number> {
  return writer.transaction(async ({ em, emit }) => {
    const surplus = (await em.count(Task, { finishedAt: { $ne: null } })) - maxEnded;
    // What another replica is just dropping is passed over.
    const options = { lockMode: LockMode.PESSIMISTIC_PARTIAL_WRITE, orderBy: { finishedAt: "asc", id: "asc" }, limit: BATCH } as const;
    const oldest = await em.find(Task, { finishedAt: { $ne: null } }, options);
    const dropped = oldest.filter(({ finishedAt }, index) => index < surplus || (finishedAt !== null && finishedAt < before));
    if (dropped.length === 0) return 0;
    await em.nativeDelete(Task, { id: { $in: dropped.map(({ id }) => id) } });
    for (const task of dropped) {
      const object = taskView(task);
      emit(TASK_STREAM, { type: "DELETED", objectId: task.id, object, previous: object });
    }
    return dropped.length;
  });
}
