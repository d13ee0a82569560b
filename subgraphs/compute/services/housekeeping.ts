import type { RequestContext } from "../../../platform/request-context.ts";
import { Instance } from "../entities/instance.ts";
import { InstanceLabel } from "../entities/instance-label.ts";
import type { InstanceWriter } from "./instance-writer.ts";
import { balance, findUnbalanced } from "./reservations.ts";
import { dropEndedTasks } from "./tasks/task-retention.ts";

/** Instances that are dropped in one transaction. */
const BATCH = 500;

/** How long deleted instances and ended tasks can still be read, in milliseconds. */
export interface RetentionTimes {
  deletedMs: number;
  tasksMs: number;
}

/** What is looked after now and then. Several replicas may do the same. */
export class Housekeeping {
  readonly #ctx: RequestContext;
  readonly #writer: InstanceWriter;
  readonly #retention: RetentionTimes;

  constructor(ctx: RequestContext, writer: InstanceWriter, retention: RetentionTimes) {
    this.#ctx = ctx;
    this.#writer = writer;
    this.#retention = retention;
  }

  async round(): Promise<void> {
    await this.#balanceReservations();
    await this.#dropDeleted();
    await dropEndedTasks(this.#ctx, this.#writer, this.#retention.tasksMs);
  }

  /** Makes every reservation the sum of its node's instances. They never differ but for a bug, or for a hand in the database. */
  async #balanceReservations(): Promise<void> {
    for (const nodeId of await this.#writer.store.read(findUnbalanced)) {
      const changed = await this.#writer.transaction(({ em }) => balance(em, nodeId));
      if (changed) this.#ctx.log.error({ nodeId }, "a node's reservation was not the sum of its instances; it is now");
    }
  }

  /** Drops deleted instances that have been kept for long enough. */
  async #dropDeleted(): Promise<void> {
    const before = new Date(Date.now() - this.#retention.deletedMs);
    for (let dropped = BATCH; dropped === BATCH && !this.#ctx.signal.aborted; ) {
      dropped = await this.#writer.transaction(async ({ em }) => {
        const old = await em.find(Instance, { deletedAt: { $lt: before } }, { fields: ["id"], limit: BATCH });
        const ids = old.map(({ id }) => id);
        if (ids.length === 0) return 0;
        await em.nativeDelete(InstanceLabel, { instanceId: { $in: ids } });
        await em.nativeDelete(Instance, { id: { $in: ids } });
        return ids.length;
      });
      if (dropped > 0) this.#ctx.log.info({ dropped }, "deleted instances have been kept for long enough");
    }
  }
}
