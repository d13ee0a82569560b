import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import { LONGEST_TIMER_MS } from "../../../kit/request-scope.ts";
import type { JsonObject } from "../../../kit/store/json.ts";
import type { InstanceTransaction } from "../instance-writer.ts";
import { ProgressWriter } from "./progress-writer.ts";
import { type ClaimedTask, claimLost, type TaskClaims } from "./task-claims.ts";
import { cancelled, OVERDUE } from "./task-outcome.ts";
import type { TaskProgress, TaskRun, TaskView } from "./task-types.ts";

export interface HeldTaskParts {
  claims: TaskClaims;
  /** The control plane's own. */
  ctx: RequestContext;
  deadlineMs: number;
  progressMs: number;
}

/** A claimed task while its handler runs: what the handler is given, and how the run is told to end. */
export class HeldTask implements TaskRun {
  readonly task: TaskView;
  readonly checkpoint: JsonObject | null;
  readonly claim: number;
  readonly failures: number;
  readonly ctx: RequestContext;
  readonly undoCtx: RequestContext;
  /** Aborts when another run goes on. */
  readonly #held = new AbortController();
  readonly #working = new AbortController();
  readonly #claims: TaskClaims;
  readonly #progress: ProgressWriter;
  readonly #deadline: NodeJS.Timeout;
  #cancelled = false;
  #overdue = false;
  #lost = false;
  #ended = false;

  constructor(claimed: ClaimedTask, { claims, ctx, deadlineMs, progressMs }: HeldTaskParts) {
    this.task = claimed.task;
    this.checkpoint = claimed.checkpoint;
    this.claim = claimed.claim;
    this.failures = claimed.failures;
    this.#claims = claims;
    const own = { ...ctx, log: ctx.log.child({ taskId: claimed.task.id, kind: claimed.task.kind }) };
    this.ctx = { ...own, signal: this.#working.signal };
    this.undoCtx = { ...own, signal: this.#held.signal };
    this.#progress = new ProgressWriter({
      pauseMs: progressMs,
      write: (progress) => this.#fenced(claims.tell(this.#id, progress)),
      onError: (error) => own.log.debug({ err: error }, "a task's progress was not stored"),
    });
    const leftMs = deadlineMs - claimed.elapsedMs;
    this.#deadline = setTimeout(() => this.#passDeadline(), Math.min(Math.max(0, leftMs), LONGEST_TIMER_MS));
    this.#deadline.unref();
    if (leftMs <= 0) this.#passDeadline();
    if (claimed.cancelRequested) this.cancel();
  }

  get signal(): AbortSignal {
    return this.#working.signal;
  }

  get cancelled(): boolean {
    return this.#cancelled;
  }

  /** Its time is over. */
  get overdue(): boolean {
    return this.#overdue;
  }

  /** Nothing that this run writes counts any more. */
  get lost(): boolean {
    return this.#lost;
  }

  /** Whether another run goes on, or nobody yet because this replica stops. */
  get abandoned(): boolean {
    return this.#held.signal.aborted;
  }

  /** It is SUCCEEDED. */
  get ended(): boolean {
    return this.#ended;
  }

  async save(checkpoint: JsonObject, progress: TaskProgress = {}): Promise<void> {
    const told = await this.#progress.take();
    await this.#fenced(this.#claims.save(this.#id, checkpoint, { ...told, ...progress }));
  }

  tell(progress: TaskProgress): void {
    if (!this.#ended && !this.#lost) this.#progress.add(progress);
  }

  async succeed(change?: (instances: InstanceTransaction) => Promise<void>): Promise<void> {
    if (this.#ended) return;
    const told = await this.#progress.take();
    await this.#fenced(this.#claims.succeed(this.#id, told, change));
    this.#ended = true;
  }

  /** Somebody asked for its end. */
  cancel(): void {
    if (this.#cancelled) return;
    this.#cancelled = true;
    this.#working.abort(cancelled());
  }

  /** Another process may have it by now. */
  lose(): void {
    this.#lost = true;
    this.#abandon(claimLost());
  }

  /** This replica goes away. */
  interrupt(): void {
    this.#abandon(new FleetError("CANCELLED", "This replica is going away; another one goes on.", { reason: "TaskInterrupted" }));
  }

  /** Writes what is still to be shown, and lets go of timers. */
  async close(): Promise<void> {
    clearTimeout(this.#deadline);
    await this.#progress.close();
  }

  get #id(): { id: string; claim: number } {
    return { id: this.task.id, claim: this.claim };
  }

  #passDeadline(): void {
    this.#overdue = true;
    this.#working.abort(new FleetError("DEADLINE_EXCEEDED", "The task did not end within its time.", { reason: OVERDUE }));
  }

  #abandon(reason: FleetError): void {
    this.#held.abort(reason);
    this.#working.abort(reason);
  }

  async #fenced<T>(write: Promise<T>): Promise<T> {
    try {
      return await write;
    } catch (error) {
      if (error instanceof FleetError && error.reason === "TaskClaimLost") this.lose();
      throw error;
    }
  }
}
