import type { Identity } from "../../../../platform/auth/identity.ts";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import { checkId, checkInteger } from "../../../kit/input-checks.ts";
import { databaseNow } from "../../../kit/store/clock.ts";
import { EvacuatedInstance } from "../../entities/evacuated-instance.ts";
import { Instance } from "../../entities/instance.ts";
import type { InstanceTransaction, InstanceWriter } from "../instance-writer.ts";
import type { MigrationRequests } from "../migrations/migration-requests.ts";
import { heldBack } from "../migrations/moves.ts";
import { applyRequest, rowFor } from "../state-machine.ts";
import type { TaskRequests } from "../tasks/task-requests.ts";
import { again, type EvacuationStep, nextStep, OCCUPYING_STATES, occupies } from "./evacuation-plan.ts";
import { comingIn, evacuationProgress, type LockedEvacuation, lockEvacuation, migrationRequestId } from "./evacuation-rows.ts";
import type { Evacuation, EvacuationProgress, InstanceCounts } from "./evacuation-types.ts";

export interface EvacuationsParts {
  writer: InstanceWriter;
  migrations: Pick<MigrationRequests, "migrate">;
  tasks: Pick<TaskRequests, "cancel">;
  /** Before a migration is tried again that failed. */
  pauseMs: number;
}

/** Migrations at once where the operation does not say. */
const PARALLEL = 2;
const MAX_PARALLEL = 16;
/** Asked to stop by one call; their agents are told by and by. */
const STOPS = 200;
/** What is being done with the instance already, or nobody can tell: no try of ours. */
const PASSING: ReadonlySet<string> = new Set(["UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "DRAINING", "CONFLICT"]);

/**
 * Takes a node's instances away, or stops them, for an operation on the node. Level-triggered: each call looks at what there is, begins what can be
 * begun, and says how far it is. What an operation has done is stored with the instances, so that any replica goes on.
 */
export class Evacuations {
  readonly #parts: EvacuationsParts;

  constructor(parts: EvacuationsParts) {
    this.#parts = parts;
  }

  /** Rights: the control plane. Throws INVALID_ARGUMENT. */
  async evacuate(ctx: RequestContext, raw: Evacuation): Promise<EvacuationProgress> {
    requireControl(ctx.identity);
    const evacuation = checkEvacuation(raw);
    const { begin, cancel } = await this.#advance(evacuation);
    const asked = { ...ctx, identity: { kind: "control", name: evacuation.requestedBy || "the control plane" } as const };
    await Promise.all([...begin.map((item) => this.#migrate(asked, item)), ...cancel.map((taskId) => this.#cancel(asked, taskId))]);
    return this.#parts.writer.store.read(async (em) => {
      const items = await em.find(EvacuatedInstance, { operationId: evacuation.operationId }, { orderBy: { instanceId: "asc" } });
      return evacuationProgress(items, evacuation.cancel ? 0 : await comingIn(em, evacuation.nodeId));
    });
  }

  /** Starts again what the operation stopped and nobody has asked anything else of since, each once. Rights: the control plane. */
  async restore(ctx: RequestContext, operation: { nodeId: string; operationId: string }): Promise<EvacuationProgress> {
    requireControl(ctx.identity);
    checkIds(operation);
    const { writer } = this.#parts;
    return writer.transaction(async (instances) => {
      const locked = await lockEvacuation(instances, writer.store.dialect, operation, false);
      for (const item of locked.items) {
        const instance = locked.instances.get(item.instanceId) ?? null;
        if (item.state === "STOPPING") applyStep(item, nextStep(item, instance, null, { mode: "STOP", cancel: true, now: locked.now }), 0);
        if (item.state !== "STOPPED") continue;
        item.state = "RESTORED";
        if (instance !== null && item.restart && isAsLeft(instance, item))
          instances.change(instance, () => applyRequest(instance, "start"));
      }
      // What was not stopped by the operation is not to be waited for.
      const { remaining: _all, ...progress } = evacuationProgress(locked.items);
      const underWay = locked.items.filter(({ state }) => state === "STOPPING").length;
      return { ...progress, underWay, remaining: underWay };
    });
  }

  /** Rights: the control plane. */
  async count(ctx: RequestContext, nodeId: string): Promise<InstanceCounts> {
    requireControl(ctx.identity);
    checkId("nodeId", nodeId);
    return this.#parts.writer.store.read(async (em) => {
      const here = await em.find(
        Instance,
        { nodeId, state: { $in: [...OCCUPYING_STATES] } },
        { fields: ["managed", "state", "suspendToDisk"] },
      );
      const running = here.filter(occupies);
      const unmanaged = running.filter(({ managed }) => !managed).length;
      return {
        managed: await em.count(Instance, { nodeId, managed: true, deletedAt: null }),
        running: running.length - unmanaged + (await comingIn(em, nodeId)),
        unmanagedRunning: unmanaged,
      };
    });
  }

  /** One step for each, in one transaction. Gives the migrations that are to be asked for, and those to be cancelled. */
  async #advance(evacuation: Evacuation): Promise<{ begin: EvacuatedInstance[]; cancel: string[] }> {
    const { writer, pauseMs } = this.#parts;
    return writer.transaction(async (instances) => {
      const locked = await lockEvacuation(instances, writer.store.dialect, evacuation, !evacuation.cancel);
      const moving = await heldBack(instances.em, evacuation.nodeId);
      const steps = locked.items.map((item) => [item, this.#step(item, locked, evacuation)] as const);
      for (const [item, step] of steps) if (step.to !== "begin") applyStep(item, step, locked.now + pauseMs);
      const room = { STOP: STOPS, MIGRATE: evacuation.maxParallel - locked.items.filter(({ state }) => state === "MOVING").length };
      for (const [item, step] of steps) {
        const instance = locked.instances.get(item.instanceId);
        if (step.to !== "begin" || instance === undefined || room[step.how] <= 0 || moving.instanceIds.has(instance.id)) continue;
        room[step.how] -= 1;
        item.tries += 1;
        if (step.how === "STOP") stop(instances, item, instance);
        else Object.assign(item, { state: "MOVING", taskId: null });
      }
      const moves = locked.items.filter(({ state }) => state === "MOVING");
      const open = moves.flatMap(({ instanceId }) => {
        const task = locked.tasks.get(instanceId);
        return task === undefined || task.finishedAt !== null || task.cancelRequested ? [] : [task.id];
      });
      // What was to be asked for when this was cancelled never is.
      const unasked = moves.filter(({ instanceId }) => !locked.tasks.has(instanceId));
      if (evacuation.cancel) for (const item of unasked) item.state = "WAITING";
      return evacuation.cancel ? { begin: [], cancel: open } : { begin: unasked, cancel: [] };
    });
  }

  #step(item: EvacuatedInstance, { instances, tasks, now }: LockedEvacuation, { mode, cancel }: Evacuation): EvacuationStep {
    const task = tasks.get(item.instanceId) ?? null;
    if (task !== null) item.taskId = task.id;
    return nextStep(item, instances.get(item.instanceId) ?? null, task, { mode, cancel, now });
  }

  /** Asks for a migration; a refusal is noted with the item, for another try or as the end. */
  async #migrate(ctx: RequestContext, item: EvacuatedInstance): Promise<void> {
    try {
      await this.#parts.migrations.migrate(ctx, { instanceId: item.instanceId, clientRequestId: migrationRequestId(item) });
    } catch (error) {
      const { code, reason, message } = FleetError.from(error);
      if (code === "INTERNAL") ctx.log.error({ err: error, instanceId: item.instanceId }, "a migration could not be asked for");
      await this.#refused(item, { passing: PASSING.has(code) || reason === "TaskUnderWay", reason: reason ?? code, message });
    }
  }

  async #refused(asked: EvacuatedInstance, failure: { passing: boolean; reason: string; message: string }): Promise<void> {
    const { writer, pauseMs } = this.#parts;
    const { operationId, instanceId, tries } = asked;
    await writer.transaction(async (instances) => {
      await instances.lockOne(instanceId);
      const item = await instances.em.findOne(EvacuatedInstance, { operationId, instanceId, tries, state: "MOVING" });
      if (item === null) return;
      if (failure.passing) item.tries -= 1;
      const now = await databaseNow(instances.em, writer.store.dialect);
      applyStep(item, again(item, failure.reason, failure.message), now + pauseMs);
    });
  }

  async #cancel(ctx: RequestContext, taskId: string): Promise<void> {
    try {
      await this.#parts.tasks.cancel(ctx, taskId);
    } catch (error) {
      // It has ended, or goes to its end: the next call sees what came of it.
      if (FleetError.from(error).code !== "FAILED_PRECONDITION") throw error;
    }
  }
}

function stop(instances: InstanceTransaction, item: EvacuatedInstance, instance: Instance): void {
  item.restart = instance.desiredState === "RUNNING";
  if (rowFor(instance, "stop", false) === null) return;
  instances.change(instance, () => applyRequest(instance, "stop"));
  item.state = "STOPPING";
  item.stopRevision = instance.revision;
}

/** Nobody has asked anything of it since it was stopped. */
function isAsLeft(instance: Instance, { nodeId, stopRevision }: EvacuatedInstance): boolean {
  return instance.nodeId === nodeId && instance.revision === stopRevision && rowFor(instance, "start", false) !== null;
}

function applyStep(item: EvacuatedInstance, step: EvacuationStep, after: number): void {
  if (step.to === "same" || step.to === "begin") return;
  item.state = step.to;
  item.reason = step.reason ?? null;
  item.message = step.message?.slice(0, 1000) ?? null;
  if (step.pause === true) item.notBefore = after;
}

function checkEvacuation(raw: Evacuation): Evacuation {
  checkIds(raw);
  const maxParallel = raw.maxParallel === 0 ? PARALLEL : checkInteger("maxParallel", raw.maxParallel, 1, MAX_PARALLEL);
  return { ...raw, maxParallel, requestedBy: raw.requestedBy.slice(0, 128) };
}

function checkIds({ nodeId, operationId }: { nodeId: string; operationId: string }): void {
  checkId("nodeId", nodeId);
  // A migration's request id holds it.
  if (checkId("operationId", operationId).length > 64) checkInteger("operationId", operationId.length, 1, 64);
}

function requireControl(identity: Identity | null): void {
  if (identity === null) throw new FleetError("UNAUTHENTICATED", "Only the control plane calls this, by its certificate.");
  if (identity.kind !== "control") throw new FleetError("FORBIDDEN", "Only the control plane calls this.");
}
