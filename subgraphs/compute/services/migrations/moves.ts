import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { Resources } from "../../../../schema/generated/proto/hypervisor/v1/common.ts";
import type { EntityManager } from "../../../kit/store/orm.ts";
import { FormerPlacement } from "../../entities/former-placement.ts";
import { InstanceMove } from "../../entities/instance-move.ts";
import type { InstanceTransaction } from "../instance-writer.ts";
import { release, reserve } from "../reservations.ts";
import { REQUESTED } from "../state-machine.ts";
import { lockTask } from "../tasks/task-changes.ts";
import { claimLost } from "../tasks/task-claims.ts";
import { rememberFormer } from "./former-rows.ts";
import { instanceChecks } from "./migration-checks.ts";
import { notPossible } from "./migration-failures.ts";

/*
 * A move from its reservation at the target to its end, each in one transaction: what is reserved is taken once, and given back or made the
 * instance's own once, however often a task runs, and whichever replica runs it.
 */

/** What tells a move from an earlier or a later one of the instance. */
export interface MoveIds {
  instanceId: string;
  taskId: string;
}

export interface NewMove extends MoveIds {
  sourceNodeId: string;
  targetNodeId: string;
  /** Of the target. */
  allocatable: Resources;
}

/** A begun move, and the placement that it ends. */
export interface BegunMove {
  move: InstanceMove;
  sourceGeneration: number;
}

/**
 * Takes the instance's share of the target, and gives the placement there its number; a repeated call gives what the first one did. Throws
 * FAILED_PRECONDITION (MigrationNotPossible), RESOURCE_EXHAUSTED (NoRoom), CANCELLED (TaskClaimLost) where the task has ended.
 */
export async function beginMove(instances: InstanceTransaction, plan: NewMove): Promise<BegunMove> {
  const { instanceId, taskId, sourceNodeId, targetNodeId, allocatable } = plan;
  const { em } = instances;
  // A run that was overtaken would leave a move that nobody ends.
  const task = await lockTask(instances, taskId);
  if (task === null || task.finishedAt !== null) throw claimLost();
  const instance = await instances.lockOne(instanceId);
  if (instance === null) throw new FleetError("FAILED_PRECONDITION", "The instance is no longer known.", { reason: "InstanceDeleted" });
  const begun = await em.findOne(InstanceMove, { instanceId });
  if (begun !== null) {
    if (begun.taskId !== taskId) throw moveUnderWay(begun);
    return { move: begun, sourceGeneration: instance.generation };
  }
  const failed = instanceChecks(instance).filter(({ passed }) => !passed);
  if (instance.nodeId !== sourceNodeId) failed.push({ name: "SourceNode", passed: false, message: "It has been moved since." });
  if (failed.length > 0) throw notPossible(failed, targetNodeId);
  const { cpuCores, memoryBytes, diskBytes, gpuCount } = instance;
  const amount = { cpuCores, memoryBytes, diskBytes, gpuCount };
  if (!(await reserve(em, targetNodeId, amount, allocatable))) {
    throw new FleetError("RESOURCE_EXHAUSTED", "The target has no room for it any more.", {
      reason: "NoRoom",
      details: { nodeId: targetNodeId },
    });
  }
  const generation = Math.max(instance.generation, instance.highestGeneration) + 1;
  const move = em.create(InstanceMove, { instanceId, taskId, sourceNodeId, targetNodeId, generation, ...amount });
  em.persist(move);
  instance.highestGeneration = generation;
  return { move, sourceGeneration: instance.generation };
}

/** What the commit has to know of the migration. */
export interface Arrival {
  /** As the target calls it; empty: as before. */
  nativeId: string;
  /** Of the target's end, for the source's. */
  cookie: string;
  copiesDisks: boolean;
}

/**
 * The instance is the target's: with one commit its node, its number, the reservations, and the event that tells of them. The source's is a former
 * placement from then on. Nothing where that has been done.
 */
export async function commitMove(instances: InstanceTransaction, ids: MoveIds, arrival: Arrival): Promise<void> {
  const { em } = instances;
  const [instance, move] = [await instances.lockOne(ids.instanceId), await moveOf(em, ids)];
  if (instance === null || move === null) return;
  await release(em, instance.nodeId, instance);
  em.remove(move);
  await rememberFormer(em, {
    instanceId: instance.id,
    nodeId: instance.nodeId,
    generation: instance.generation,
    revision: instance.revision + 1,
    keepDisks: !arrival.copiesDisks,
    migrationId: move.taskId,
    side: "SOURCE",
    cookie: arrival.cookie,
    createdAt: new Date(),
  });
  await em.nativeDelete(FormerPlacement, { instanceId: instance.id, nodeId: move.targetNodeId });
  // The target may have told of it before it said whose it is.
  const nativeId = arrival.nativeId || instance.nativeId;
  const found = nativeId === null ? [] : await instances.lock({ nodeId: move.targetNodeId, nativeId, managed: false });
  for (const one of found) instances.forget(one);
  instances.change(instance, () => {
    Object.assign(instance, { nodeId: move.targetNodeId, generation: move.generation, nativeId, activity: null, adoptNativeId: null });
    instance.stateReason = REQUESTED;
    instance.revision += 1;
    instance.appliedRevision = 0;
  });
}

/** How an attempt came to nothing. */
export interface Return {
  /** The target could not be asked: what it may have of the attempt goes when it is back. */
  targetUnsure: boolean;
  copiesDisks: boolean;
  /** The source's agent has to bring the guest back to what it is to be. */
  resume: boolean;
}

/** The instance stays the source's, and what was reserved at the target is free. Nothing where that has been done. */
export async function abandonMove(instances: InstanceTransaction, ids: MoveIds, how: Return): Promise<void> {
  const { em } = instances;
  const [instance, move] = [await instances.lockOne(ids.instanceId), await moveOf(em, ids)];
  if (move === null) return;
  await release(em, move.targetNodeId, move);
  em.remove(move);
  if (how.targetUnsure) {
    await rememberFormer(em, {
      instanceId: move.instanceId,
      nodeId: move.targetNodeId,
      generation: move.generation,
      revision: 1,
      keepDisks: !how.copiesDisks,
      migrationId: move.taskId,
      side: "TARGET",
      cookie: "",
      createdAt: new Date(),
    });
  }
  if (instance === null) return;
  instances.change(instance, () => {
    instance.activity = null;
    if (how.resume) instance.revision += 1;
    // What its agent reported meanwhile was left aside: told again, it tells again.
    instance.appliedRevision = 0;
  });
}

/** What the instance shows while it moves. Gives whether it is to be deleted; true, too, where it does not move any more. */
export async function showMove(instances: InstanceTransaction, ids: MoveIds, activity: string | null): Promise<{ deleting: boolean }> {
  const [instance, move] = [await instances.lockOne(ids.instanceId), await moveOf(instances.em, ids)];
  if (instance === null || move === null) return { deleting: true };
  if (activity !== null) {
    instances.change(instance, () => {
      instance.activity = activity;
    });
  }
  return { deleting: instance.desiredState === "DELETED" };
}

/** The task's own; null where it has ended. */
export function moveOf(em: EntityManager, { instanceId, taskId }: MoveIds): Promise<InstanceMove | null> {
  return em.findOne(InstanceMove, { instanceId, taskId });
}

/** For what would disturb a move: throws FAILED_PRECONDITION (reason TaskUnderWay, details.taskId) while there is one. */
export async function refuseWhileMoving(em: EntityManager, instanceId: string): Promise<void> {
  const move = await em.findOne(InstanceMove, { instanceId });
  if (move !== null) throw moveUnderWay(move);
}

export async function isMoving(em: EntityManager, instanceId: string): Promise<boolean> {
  return (await em.count(InstanceMove, { instanceId })) > 0;
}

/** What a report of a node says nothing about: the task decides what becomes of it. */
export interface HeldBack {
  instanceIds: ReadonlySet<string>;
  nativeIds: ReadonlySet<string>;
}

/** Instances that are on their way from the node or to it. */
export async function heldBack(em: EntityManager, nodeId: string): Promise<HeldBack> {
  const moves = await em.find(InstanceMove, { $or: [{ sourceNodeId: nodeId }, { targetNodeId: nodeId }] });
  const instanceIds = new Set(moves.map((move) => move.instanceId));
  if (moves.length === 0) return { instanceIds, nativeIds: new Set() };
  const named = [...instanceIds].map(() => "?").join(", ");
  const rows = await em.execute<Array<{ native_id: string | null }>>(`select native_id from instance where id in (${named})`, [
    ...instanceIds,
  ]);
  return { instanceIds, nativeIds: new Set(rows.flatMap(({ native_id }) => native_id ?? [])) };
}

function moveUnderWay({ taskId, instanceId }: InstanceMove): FleetError {
  return new FleetError("FAILED_PRECONDITION", "The instance is being moved to another node: wait for the task's end, or cancel it.", {
    reason: "TaskUnderWay",
    details: { instanceId, taskId, kind: "MIGRATION" },
  });
}
