import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { Metrics } from "../../../../platform/observability/metrics.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import type { EventLog } from "../../../kit/events/event-log.ts";
import { periodically } from "../../../kit/periodic.ts";
import type { JsonObject } from "../../../kit/store/json.ts";
import type { TaskConfig } from "../../config.ts";
import type { InstanceWriter } from "../instance-writer.ts";
import { HeldTask } from "./held-task.ts";
import { type ClaimedTask, TaskClaims } from "./task-claims.ts";
import { judgeRun, pauseMs } from "./task-outcome.ts";
import { TASK_STREAM, type TaskHandler, type TaskKind, type TaskView } from "./task-types.ts";

export interface TaskRunnerParts {
  /** The control plane itself; its signal ends what runs in the background. */
  ctx: RequestContext;
  writer: InstanceWriter;
  log: EventLog;
  metrics: Metrics;
  config: TaskConfig;
}

/** How long `stop` waits for handlers that do not heed their signals. */
const STOP_MS = 10_000;
const FOLLOW_PAUSE_MS = 1_000;

/**
 * Runs tasks: those that this process can claim, each kind as many at once as its handler says. Woken by the log's events (of this process
 * and of others) and by a sweep. Claims are renewed while handlers run; whoever loses one can write no more.
 */
export class TaskRunner {
  readonly #parts: TaskRunnerParts;
  readonly #claims: TaskClaims;
  readonly #handlers = new Map<TaskKind, TaskHandler>();
  readonly #running = new Map<string, { held: HeldTask; run: Promise<void> }>();
  readonly #ended;
  #filling: Promise<void> | null = null;
  #again = false;
  #stopped = false;
  #loops: Promise<unknown> = Promise.resolve();
  /** When the claims were renewed last, on the scale of performance.now(). */
  #renewedAt = 0;

  constructor(parts: TaskRunnerParts) {
    this.#parts = parts;
    this.#claims = new TaskClaims({ writer: parts.writer, owner: randomUUID(), leaseMs: parts.config.leaseMs });
    this.#ended = parts.metrics.counter("fleetgraph_task_runs_total", "Runs of tasks, by how they ended.", ["kind", "outcome"]);
  }

  /** As the task's handler says of what it saved last. */
  isDecided(kind: TaskKind, checkpoint: JsonObject | null): boolean {
    return checkpoint !== null && (this.#handlers.get(kind)?.isDecided?.(checkpoint) ?? false);
  }

  /** Before `start`; one handler per kind. Tasks of a kind without one are left to other replicas. */
  register<Checkpoint extends NonNullable<TaskView["input"]>>(handler: TaskHandler<Checkpoint>): void {
    if (this.#handlers.has(handler.kind)) throw new Error(`Two handlers for tasks of the kind ${handler.kind}.`);
    this.#handlers.set(handler.kind, handler as unknown as TaskHandler);
  }

  start(): void {
    const { ctx, config } = this.#parts;
    this.#loops = Promise.all([
      this.#follow(),
      periodically(ctx, "looking for tasks", config.sweepMs, async () => this.#wake()),
      periodically(ctx, "holding on to tasks", config.leaseMs / 4, () => this.#renew()),
    ]);
    this.#wake();
  }

  /** After the signal of the context. Handlers are told to end; what they leave is free for other replicas at once. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const { held } of this.#running.values()) held.interrupt();
    await this.#loops;
    await this.#filling;
    for (const { held } of this.#running.values()) held.interrupt();
    const late = new AbortController();
    const runs = Promise.all([...this.#running.values()].map(({ run }) => run));
    await Promise.race([runs, sleep(STOP_MS, undefined, { signal: late.signal }).catch(() => undefined)]);
    late.abort();
    for (const { held } of this.#running.values()) {
      this.#parts.ctx.log.error({ taskId: held.task.id, kind: held.task.kind }, "a task's handler does not end; its lease will");
    }
  }

  /** The log tells of new tasks and of cancellations, whichever replica they came to. */
  async #follow(): Promise<void> {
    const { ctx, log } = this.#parts;
    while (!ctx.signal.aborted) {
      try {
        for await (const { object } of log.watch<TaskView>(TASK_STREAM, { signal: ctx.signal })) {
          if (object?.cancelRequested) this.#running.get(object.id)?.held.cancel();
          if (object?.state === "QUEUED" || object?.cancelRequested) this.#wake();
        }
        await sleep(FOLLOW_PAUSE_MS, undefined, { signal: ctx.signal, ref: false });
      } catch (error) {
        if (ctx.signal.aborted) return;
        ctx.log.debug({ err: error }, "the tasks' events cannot be followed; sweeps find what they tell");
        await sleep(FOLLOW_PAUSE_MS, undefined, { signal: ctx.signal, ref: false }).catch(() => undefined);
      }
    }
  }

  #wake(): void {
    if (this.#stopped || this.#parts.ctx.signal.aborted) return;
    if (this.#filling !== null) {
      this.#again = true;
      return;
    }
    this.#filling = this.#fill()
      .catch((error: unknown) => this.#parts.ctx.log.warn({ err: error }, "no tasks could be claimed; it is tried again"))
      .finally(() => {
        this.#filling = null;
        if (!this.#again) return;
        this.#again = false;
        this.#wake();
      });
  }

  async #fill(): Promise<void> {
    const free = this.#free();
    // One that winds down here after its claim was lost is not taken a second time.
    const mine = [...this.#running.keys()];
    if (free.size === 0 || !(await this.#claims.hasDue([...free.keys()], mine))) return;
    const before = performance.now();
    for (const claimed of await this.#claims.claim(free, mine)) this.#begin(claimed, before);
  }

  #free(): Map<TaskKind, number> {
    const free = new Map([...this.#handlers].map(([kind, { concurrent }]) => [kind, concurrent]));
    for (const { held } of this.#running.values()) free.set(held.task.kind, (free.get(held.task.kind) ?? 0) - 1);
    return new Map([...free].filter(([, places]) => places > 0));
  }

  #begin(claimed: ClaimedTask, claimedAt: number): void {
    const handler = this.#handlers.get(claimed.task.kind);
    if (handler === undefined) return;
    const { ctx, config } = this.#parts;
    if (this.#running.size === 0) this.#renewedAt = claimedAt;
    // Not the signal of the context: what is to be told after it is told by `interrupt`.
    const held = new HeldTask(claimed, { claims: this.#claims, ctx, deadlineMs: handler.deadlineMs, progressMs: config.progressMs });
    if (this.#stopped || ctx.signal.aborted) held.interrupt();
    const run = this.#run(held, handler)
      .catch((error: unknown) => held.ctx.log.warn({ err: error }, "how a task ended was not stored; it runs again when its lease is over"))
      .finally(() => {
        this.#running.delete(held.task.id);
        this.#wake();
      });
    this.#running.set(held.task.id, { held, run });
  }

  async #run(held: HeldTask, handler: TaskHandler): Promise<void> {
    let failure: unknown = null;
    try {
      await handler.run(held);
      await held.succeed();
    } catch (error) {
      failure = error;
    } finally {
      await held.close();
    }
    await this.#settle(held, handler, failure);
  }

  async #settle(held: HeldTask, handler: TaskHandler, failure: unknown): Promise<void> {
    const claim = { id: held.task.id, claim: held.claim };
    const verdict = judgeRun(held, failure, handler.mustUndo ?? false);
    this.#ended.inc({ kind: held.task.kind, outcome: verdict.outcome });
    if (verdict.error?.code === "INTERNAL") held.ctx.log.error({ err: verdict.error.cause ?? verdict.error }, "a task failed");
    if (verdict.outcome === "released") await this.#claims.release(claim);
    else if (verdict.outcome === "postponed") {
      const { firstPauseMs, longestPauseMs } = this.#parts.config;
      held.ctx.log.info({ err: verdict.error }, "a task did not get ahead; it is tried again");
      await this.#claims.postpone(claim, verdict.error, pauseMs(held.failures, firstPauseMs, longestPauseMs), held.cancelled);
    } else if (verdict.outcome === "FAILED" || verdict.outcome === "CANCELLED") {
      await this.#claims.end(claim, verdict.outcome, verdict.error);
    }
  }

  /** What could not be renewed for as long as a lease may be another's by now. */
  async #renew(): Promise<void> {
    const held = [...this.#running.values()].map((entry) => entry.held).filter(({ lost, ended }) => !lost && !ended);
    if (held.length === 0) return;
    const startedAt = performance.now();
    try {
      const still = await this.#claims.renew(held.map(({ task }) => task.id));
      this.#renewedAt = startedAt;
      for (const one of held) {
        const row = still.get(one.task.id);
        if (row?.claim !== one.claim) {
          if (!one.ended) one.lose();
        } else if (row.cancelRequested) one.cancel();
      }
    } catch (error) {
      if (performance.now() - this.#renewedAt > this.#parts.config.leaseMs) for (const one of held) one.lose();
      throw error;
    }
  }
}
