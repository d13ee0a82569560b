import { databaseNow } from "../../../kit/store/clock.ts";
import type { Dialect } from "../../../kit/store/dialect.ts";
import type { EntityManager } from "../../../kit/store/orm.ts";
import { EvacuatedInstance } from "../../entities/evacuated-instance.ts";
import type { Instance } from "../../entities/instance.ts";
import { InstanceMove } from "../../entities/instance-move.ts";
import { Task } from "../../entities/task.ts";
import type { InstanceTransaction } from "../instance-writer.ts";
import { OCCUPYING_STATES, occupies } from "./evacuation-plan.ts";
import type { EvacuationProgress } from "./evacuation-types.ts";

/** What an operation has done so far, and the instances that it is about, locked. */
export interface LockedEvacuation {
  items: EvacuatedInstance[];
  instances: ReadonlyMap<string, Instance>;
  /** By the instance's id: of its migration. */
  tasks: ReadonlyMap<string, Task>;
  now: number;
}

/** Items of earlier operations on a node are dropped with the first of a later one. */
const KEPT_MS = 30 * 86_400_000;

/** The items of an operation. `withNew`: also what has come to run on the node since gets one. */
export async function lockEvacuation(
  instances: InstanceTransaction,
  dialect: Dialect,
  { operationId, nodeId }: { operationId: string; nodeId: string },
  withNew: boolean,
): Promise<LockedEvacuation> {
  const { em } = instances;
  const ids = (await em.find(EvacuatedInstance, { operationId }, { fields: ["instanceId"] })).map(({ instanceId }) => instanceId);
  em.clear();
  const here = withNew ? [{ nodeId, state: { $in: [...OCCUPYING_STATES] } }] : [];
  // Locked first, in the order of their ids as everywhere; the items are written only by those who hold these.
  const locked = await instances.lock({ $or: [{ id: { $in: ids } }, ...here] });
  const items = await em.find(EvacuatedInstance, { operationId }, { orderBy: { instanceId: "asc" } });
  if (items.length === 0 && withNew) {
    await em.nativeDelete(EvacuatedInstance, { nodeId, createdAt: { $lt: new Date(Date.now() - KEPT_MS) } });
  }
  const known = new Set(items.map(({ instanceId }) => instanceId));
  for (const instance of locked) {
    if (known.has(instance.id) || !occupies(instance)) continue;
    const item = em.create(EvacuatedInstance, newItem(operationId, instance));
    em.persist(item);
    items.push(item);
  }
  const requests = items.filter(({ state }) => state === "MOVING").map(migrationRequestId);
  const tasks = await em.find(Task, { clientRequestId: { $in: requests } });
  return {
    items,
    instances: new Map(locked.map((instance) => [instance.id, instance])),
    tasks: new Map(tasks.flatMap((task) => (task.instanceId === null ? [] : [[task.instanceId, task]]))),
    now: await databaseNow(em, dialect),
  };
}

/** What makes a try's migration once, whoever asks for it how often. */
export function migrationRequestId({
  operationId,
  instanceId,
  tries,
}: Pick<EvacuatedInstance, "operationId" | "instanceId" | "tries">): string {
  return `${operationId}/${instanceId}/${tries}`;
}

function newItem(operationId: string, { id, nodeId, name }: Instance) {
  return {
    operationId,
    instanceId: id,
    nodeId,
    name,
    state: "WAITING" as const,
    tries: 0,
    taskId: null,
    stopRevision: null,
    restart: false,
    notBefore: 0,
    reason: null,
    message: null,
    createdAt: new Date(),
  };
}

/** Instances that migrations are bringing to the node. */
export function comingIn(em: EntityManager, nodeId: string): Promise<number> {
  return em.count(InstanceMove, { targetNodeId: nodeId });
}

export function evacuationProgress(items: readonly EvacuatedInstance[], coming = 0): EvacuationProgress {
  const count = (...states: Array<EvacuatedInstance["state"]>) => items.filter(({ state }) => states.includes(state)).length;
  return {
    total: items.length + coming,
    done: count("DONE", "STOPPED", "RESTORED"),
    underWay: count("MOVING", "STOPPING") + coming,
    remaining: count("WAITING", "MOVING", "STOPPING") + coming,
    failures: items.flatMap(({ instanceId, name, state, reason, message }) =>
      state === "GIVEN_UP" ? [{ instanceId, name, reason: reason ?? "", message: message ?? "" }] : [],
    ),
  };
}
