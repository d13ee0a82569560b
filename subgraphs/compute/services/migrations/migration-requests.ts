import { callerName, requireRole } from "../../../../platform/auth/identity.ts";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import { checkId } from "../../../kit/input-checks.ts";
import type { ComputeConfig } from "../../config.ts";
import { Instance } from "../../entities/instance.ts";
import type { FleetView } from "../fleet-view.ts";
import { instanceNotFound } from "../instance-requests.ts";
import type { InstanceView } from "../instance-types.ts";
import { instanceView } from "../instance-view.ts";
import type { InstanceTransaction, InstanceWriter } from "../instance-writer.ts";
import { place } from "../placement.ts";
import { noNodeFits } from "../placements.ts";
import { readReservations } from "../reservations.ts";
import type { TaskStore } from "../tasks/task-store.ts";
import type { NewTask, TaskView } from "../tasks/task-types.ts";
import { instanceChecks, moveRequest } from "./migration-checks.ts";
import { notPossible } from "./migration-failures.ts";
import { checkMigrationInput } from "./migration-input.ts";
import type { Migration, MigrationPreflight, MigrationTaskInput, RawMigration } from "./migration-types.ts";
import { refuseWhileMoving } from "./moves.ts";
import type { MigrationPreflights } from "./preflights.ts";

export interface MigrationRequestsParts {
  writer: InstanceWriter;
  fleet: FleetView;
  tasks: TaskStore;
  preflights: MigrationPreflights;
  config: Pick<ComputeConfig, "strategy">;
}

export interface StartedMigration {
  task: TaskView;
  instance: InstanceView;
}

type Asked = Migration & { createdBy: string };

/** Nodes of which the agents are asked where none is named. */
const TRIES = 3;

/** What people ask of moves. */
export class MigrationRequests {
  readonly #parts: MigrationRequestsParts;

  constructor(parts: MigrationRequestsParts) {
    this.#parts = parts;
  }

  /**
   * Rights: operator. Returns once it is known to be possible; the task tells the rest. Without a target it goes to the best node that passes all
   * checks. Throws NOT_FOUND, FAILED_PRECONDITION (reason MigrationNotPossible, details.checks has each that failed; reason TaskUnderWay),
   * CONFLICT (reason TaskUnderWay), RESOURCE_EXHAUSTED (reason NoNodeFits), UNAVAILABLE while the nodes are not known.
   */
  async migrate(ctx: RequestContext, raw: RawMigration): Promise<StartedMigration> {
    const { identity } = ctx;
    requireRole(identity, "operator");
    const asked = { ...checkMigrationInput(raw), createdBy: callerName(identity) };
    const repeated = await this.#repeated(asked);
    if (repeated !== null) return repeated;
    const { targetNodeId, checks } = await this.#preflight(ctx, asked.instanceId, asked.targetNodeId);
    const failed = checks.filter(({ passed }) => !passed);
    if (targetNodeId === null || failed.length > 0) throw notPossible(failed, targetNodeId);
    return this.#parts.writer.transaction((instances) => this.#start(instances, asked, targetNodeId));
  }

  /** Rights: operator. All checks, passed or not; without a target, those of the node that `migrate` would take. Changes nothing. */
  async check(ctx: RequestContext, instanceId: string, targetNodeId: string | null): Promise<MigrationPreflight> {
    requireRole(ctx.identity, "operator");
    checkId("instanceId", instanceId);
    return this.#preflight(ctx, instanceId, targetNodeId === null ? null : checkId("targetNodeId", targetNodeId));
  }

  /** An answer that got lost is asked for again. */
  async #repeated(asked: Asked): Promise<StartedMigration | null> {
    if (asked.clientRequestId === null) return null;
    return this.#parts.writer.transaction(async (instances) => {
      const instance = await instances.em.findOne(Instance, { id: asked.instanceId });
      if (instance === null) throw instanceNotFound(asked.instanceId);
      const task = await this.#parts.tasks.repeated(instances, newTask(asked, instance, ""));
      return task && { task, instance: instanceView(instance) };
    });
  }

  /** What was checked may have changed since; the task looks at the rest again. */
  async #start(instances: InstanceTransaction, asked: Asked, targetNodeId: string): Promise<StartedMigration> {
    const instance = await instances.lockOne(asked.instanceId);
    if (instance === null) throw instanceNotFound(asked.instanceId);
    const task = newTask(asked, instance, targetNodeId);
    const repeated = await this.#parts.tasks.repeated(instances, task);
    if (repeated !== null) return { task: repeated, instance: instanceView(instance) };
    await refuseWhileMoving(instances.em, instance.id);
    const failed = instanceChecks(instance).filter(({ passed }) => !passed);
    if (failed.length > 0) throw notPossible(failed, targetNodeId);
    return { task: await this.#parts.tasks.create(instances, task), instance: instanceView(instance) };
  }

  async #preflight(ctx: RequestContext, instanceId: string, targetNodeId: string | null): Promise<MigrationPreflight> {
    const { writer, fleet, preflights } = this.#parts;
    await fleet.whenKnown(ctx.signal);
    const instance = await writer.store.read(async (em) => {
      const found = await em.findOne(Instance, { id: instanceId });
      if (found !== null) await refuseWhileMoving(em, instanceId);
      return found;
    });
    if (instance === null) throw instanceNotFound(instanceId);
    if (targetNodeId !== null && fleet.get(targetNodeId) === undefined) throw unknownTarget(targetNodeId);
    const source = await preflights.source(ctx, instance);
    if (targetNodeId !== null) return preflights.target(ctx, instance, targetNodeId, source);
    // What the source itself lacks, no target makes up for.
    let best: MigrationPreflight = { targetNodeId: null, checks: source.checks, copiesDisks: false, bytesToCopy: 0, description: null };
    if (source.checks.some(({ passed }) => !passed)) return best;
    for (const nodeId of await this.#candidates(instance)) {
      const preflight = await preflights.target(ctx, instance, nodeId, source);
      if (preflight.checks.every(({ passed }) => passed)) return preflight;
      if (best.targetNodeId === null) best = preflight;
    }
    return best;
  }

  /** Other nodes with room for it, best first. Throws RESOURCE_EXHAUSTED where there is none. */
  async #candidates(instance: Instance): Promise<string[]> {
    const { writer, fleet, config } = this.#parts;
    const nodes = fleet.nodes(await writer.store.read((em) => readReservations(em)));
    const others = nodes.filter(({ nodeId }) => nodeId !== instance.nodeId);
    const decision = place(moveRequest(instance, config.strategy), others);
    if (!decision.fits) throw noNodeFits(decision.refusals);
    return decision.ranked.slice(0, TRIES);
  }
}

function newTask(asked: Asked, { nodeId: sourceNodeId }: Instance, targetNodeId: string): NewTask {
  const { instanceId, maxDowntimeMs, bandwidthBytesPerSecond, clientRequestId, createdBy } = asked;
  const input: MigrationTaskInput = { instanceId, sourceNodeId, targetNodeId, maxDowntimeMs, bandwidthBytesPerSecond };
  const repeatable = clientRequestId === null ? {} : { clientRequestId };
  return { kind: "MIGRATION", input, instanceId, nodeId: targetNodeId, exclusive: true, createdBy, ...repeatable };
}

function unknownTarget(id: string): FleetError {
  return new FleetError("NOT_FOUND", `Node ${JSON.stringify(id)} does not exist.`, {
    details: { field: "targetNodeId", kind: "Node", id },
  });
}
