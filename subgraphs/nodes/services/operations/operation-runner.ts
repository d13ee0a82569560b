import type { Metrics } from "../../../../platform/observability/metrics.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import { periodically } from "../../../kit/periodic.ts";
import { RequestScope } from "../../../kit/request-scope.ts";
import { takeStep } from "./operation-steps.ts";
import type { ClaimedOperation, OperationStore } from "./operation-store.ts";
import type { OperationPeers } from "./operation-types.ts";
import type { OperationsConfig } from "./operations-config.ts";

export interface OperationRunnerParts {
  /** The control plane itself; its signal ends what runs in the background. */
  ctx: RequestContext;
  store: OperationStore;
  peers: OperationPeers;
  metrics: Metrics;
  config: OperationsConfig;
}

/**
 * Takes the steps of operations, whichever replica stored them. A step has a claim on its operation for a lease that is longer than the step
 * may last, and writes what it led to only while nobody else has claimed it: after a crash another replica takes the step again.
 */
export class OperationRunner {
  readonly #parts: OperationRunnerParts;
  readonly #running = new Map<string, Promise<void>>();
  readonly #steps;
  #filling: Promise<void> | null = null;
  #again = false;
  #loops: Promise<unknown> = Promise.resolve();

  constructor(parts: OperationRunnerParts) {
    this.#parts = parts;
    this.#steps = parts.metrics.counter("fleetgraph_node_operation_steps_total", "Steps of operations on nodes, by phase and outcome.", [
      "phase",
      "outcome",
    ]);
  }

  start(): void {
    const { ctx, config, store } = this.#parts;
    this.#loops = Promise.all([
      periodically(ctx, "looking for operations on nodes", config.sweepMs, async () => this.wake()),
      periodically(ctx, "dropping old operations on nodes", config.retentionMs / 1000, async () => {
        while (!ctx.signal.aborted && (await store.dropEnded(config.retentionMs)));
      }),
    ]);
    this.wake();
  }

  /** After the signal of the context. */
  async stop(): Promise<void> {
    await this.#loops;
    await this.#filling;
    await Promise.all(this.#running.values());
  }

  /** Something may be due. */
  wake(): void {
    const { ctx } = this.#parts;
    if (ctx.signal.aborted) return;
    if (this.#filling !== null) {
      this.#again = true;
      return;
    }
    this.#filling = this.#fill()
      .catch((error: unknown) => {
        if (!ctx.signal.aborted) ctx.log.warn({ err: error }, "no operations could be claimed; it is tried again");
      })
      .finally(() => {
        this.#filling = null;
        if (!this.#again) return;
        this.#again = false;
        this.wake();
      });
  }

  async #fill(): Promise<void> {
    const { store, config } = this.#parts;
    const free = config.concurrent - this.#running.size;
    if (free <= 0) return;
    for (const claimed of await store.claim(free, config.leaseMs)) {
      const { id } = claimed.operation;
      const step = this.#step(claimed)
        .catch((error: unknown) => this.#parts.ctx.log.warn({ err: error, operationId: id }, "a step was not stored; it is taken again"))
        .finally(() => {
          this.#running.delete(id);
          this.wake();
        });
      this.#running.set(id, step);
    }
  }

  async #step(claimed: ClaimedOperation): Promise<void> {
    const { ctx, store, peers, config } = this.#parts;
    const { operation, now } = claimed;
    const { phase } = operation;
    // Ends before the lease does.
    const scope = new RequestScope({ signal: ctx.signal, deadlineMs: config.stepMs });
    try {
      const stepCtx = { ...ctx, signal: scope.signal, deadlineAt: scope.deadlineAt };
      const change = await takeStep(stepCtx, operation, { peers, config, now });
      const isOurs = await store.write(claimed, change);
      this.#steps.inc({ phase, outcome: isOurs ? (change.state ?? change.phase ?? phase) : "lost" });
      if (isOurs && change.state !== undefined) {
        ctx.log.info(
          { operationId: operation.id, kind: operation.kind, nodeId: operation.nodeId, state: change.state },
          "an operation ended",
        );
      }
    } catch (error) {
      if (!scope.signal.aborted) throw error;
      this.#steps.inc({ phase, outcome: "interrupted" });
      // Where only its time was over, the lease will be, too, after a while.
      if (ctx.signal.aborted) await store.release(claimed);
    } finally {
      scope.close();
    }
  }
}
