import { type FilterQuery, LockMode } from "@mikro-orm/core";
import { FleetError, invalidArgument } from "../../../../platform/errors/fleet-error.ts";
import { newId } from "../../../kit/ids.ts";
import { databaseNow } from "../../../kit/store/clock.ts";
import type { EntityManager, Store, Transaction } from "../../../kit/store/orm.ts";
import { NodeOperation } from "../../entities/node-operation.ts";
import { type InstancePolicy, OPERATION_STREAM, type OperationChange, type OperationKind, type OperationView } from "./operation-types.ts";
import { operationView } from "./operation-view.ts";

export interface NewOperation {
  nodeId: string;
  hostname: string;
  kind: OperationKind;
  instances: InstancePolicy;
  maxParallel: number;
  reason: string | null;
  requestedBy: string;
  clientRequestId: string | null;
  deadlineMs: number;
}

/** An operation of which this process may take the next step. */
export interface ClaimedOperation {
  operation: NodeOperation;
  claim: number;
  now: number;
}

/** Ended operations that are dropped in one transaction. */
const BATCH = 200;

/** The rows of operations: each change with its event, and who may take the next step. */
export class OperationStore {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /**
   * A `clientRequestId` that was used before gives the operation that it made. Throws CONFLICT (reason OperationUnderWay, details operationId
   * and kind), INVALID_ARGUMENT for a request id that made something else.
   */
  create(operation: NewOperation, preparingMs: number): Promise<OperationView> {
    return this.#store.transaction(async ({ em, emit }) => {
      const repeated = await this.#repeated(em, operation);
      if (repeated !== null) return repeated;
      const row = newRow(operation, (await databaseNow(em, this.#store.dialect)) + preparingMs);
      // Another transaction may store its own meanwhile: this waits for its end, and then finds it instead of failing at the commit.
      await em.createQueryBuilder(NodeOperation).insert(row).onConflict().ignore().execute();
      const created = await em.findOne(NodeOperation, { id: row.id });
      if (created === null) {
        const other = await this.#repeated(em, operation);
        if (other !== null) return other;
        throw underWay(await em.findOne(NodeOperation, { nodeId: operation.nodeId, finishedAt: null }));
      }
      const view = operationView(created);
      emit(OPERATION_STREAM, { type: "ADDED", objectId: view.id, object: view, previous: null });
      return view;
    });
  }

  /** What the same request made before; null without one. Throws INVALID_ARGUMENT where the id made something else. */
  repeated(operation: Pick<NewOperation, "clientRequestId" | "kind" | "nodeId">): Promise<OperationView | null> {
    return this.#store.read((em) => this.#repeated(em, operation));
  }

  /** Throws CONFLICT (reason OperationUnderWay) where something is being done to the node. */
  async requireNone(nodeId: string): Promise<void> {
    const open = await this.#store.read((em) => em.findOne(NodeOperation, { nodeId, finishedAt: null }));
    if (open !== null) throw underWay(open);
  }

  /** The last one of the node that stopped instances and has ended. */
  lastThatStopped(nodeId: string): Promise<NodeOperation | null> {
    const where = { nodeId, instances: "STOP", finishedAt: { $ne: null } } as const;
    return this.#store.read((em) => em.findOne(NodeOperation, where, { orderBy: { createdAt: "desc", id: "desc" } }));
  }

  /** Takes operations of which nobody takes a step now, at most `limit`. */
  async claim(limit: number, leaseMs: number): Promise<ClaimedOperation[]> {
    const due = (now: number): FilterQuery<NodeOperation> => ({ finishedAt: null, leaseUntil: { $lte: now }, notBefore: { $lte: now } });
    const hasDue = await this.#store.read(async (em) => {
      const now = await databaseNow(em, this.#store.dialect);
      return (await em.findOne(NodeOperation, due(now), { fields: ["id"] })) !== null;
    });
    if (!hasDue) return [];
    return this.#store.transaction(async ({ em }) => {
      const now = await databaseNow(em, this.#store.dialect);
      // What another replica is just claiming is passed over.
      const options = { lockMode: LockMode.PESSIMISTIC_PARTIAL_WRITE, orderBy: { notBefore: "asc", id: "asc" }, limit } as const;
      const operations = await em.find(NodeOperation, due(now), options);
      return operations.map((operation) => {
        operation.claim += 1;
        operation.leaseUntil = now + leaseMs;
        return { operation, claim: operation.claim, now };
      });
    });
  }

  /** What a step led to; false where another replica goes on, and this changed nothing. */
  write({ operation: { id }, claim }: ClaimedOperation, { pauseMs, ...change }: OperationChange): Promise<boolean> {
    return this.#store.transaction(async (tx) => {
      const operation = await lock(tx.em, id);
      if (operation === null || operation.claim !== claim || operation.finishedAt !== null) return false;
      operation.leaseUntil = 0;
      operation.notBefore = pauseMs === 0 ? 0 : (await databaseNow(tx.em, this.#store.dialect)) + pauseMs;
      // Cancelled while the step was taken that would have made it too late: the next step sees that.
      if (change.ordered === true && operation.cancelRequested) return true;
      // Cancelled meanwhile: not waited for.
      if (operation.cancelRequested && operation.phase !== "UNDOING") operation.notBefore = 0;
      apply(tx, operation, () => {
        Object.assign(operation, change);
        if (operation.state !== "RUNNING") operation.finishedAt = new Date();
      });
      return true;
    });
  }

  /** Others may go on at once. */
  release({ operation: { id }, claim }: ClaimedOperation): Promise<unknown> {
    return this.#store.transaction(({ em }) => em.nativeUpdate(NodeOperation, { id, claim, finishedAt: null }, { leaseUntil: 0 }));
  }

  /**
   * Asks for its end. `authorise` sees the operation first. Throws NOT_FOUND, FAILED_PRECONDITION (reason OperationEnded, details.state; reason
   * TooLateToCancel where the host may have been told).
   */
  cancel(id: string, authorise: (operation: OperationView) => void): Promise<OperationView> {
    return this.#store.transaction(async (tx) => {
      const operation = await lock(tx.em, id);
      if (operation === null) throw operationNotFound(id);
      authorise(operationView(operation));
      if (operation.finishedAt !== null) {
        throw new FleetError("FAILED_PRECONDITION", `The operation has ended: it is ${operation.state}.`, {
          reason: "OperationEnded",
          details: { operationId: id, state: operation.state },
        });
      }
      if (operation.ordered && operation.phase !== "UNDOING") {
        throw new FleetError("FAILED_PRECONDITION", "The host may have been told already: it is too late.", {
          reason: "TooLateToCancel",
          details: { operationId: id, phase: operation.phase },
        });
      }
      return apply(tx, operation, () => {
        operation.cancelRequested = true;
        operation.notBefore = 0;
      });
    });
  }

  /** Drops those that ended before; true: there may be more. Several replicas may do the same. */
  async dropEnded(retentionMs: number): Promise<boolean> {
    return this.#store.transaction(async ({ em, emit }) => {
      const where = { finishedAt: { $lt: new Date(Date.now() - retentionMs) } };
      const options = { lockMode: LockMode.PESSIMISTIC_PARTIAL_WRITE, orderBy: { finishedAt: "asc", id: "asc" }, limit: BATCH } as const;
      const old = await em.find(NodeOperation, where, options);
      for (const operation of old) {
        const object = operationView(operation);
        em.remove(operation);
        emit(OPERATION_STREAM, { type: "DELETED", objectId: operation.id, object, previous: object });
      }
      return old.length === BATCH;
    });
  }

  async #repeated(em: EntityManager, { clientRequestId, kind, nodeId }: Pick<NewOperation, "clientRequestId" | "kind" | "nodeId">) {
    if (clientRequestId === null) return null;
    const made = await em.findOne(NodeOperation, { clientRequestId });
    if (made === null) return null;
    if (made.kind !== kind || made.nodeId !== nodeId) {
      throw invalidArgument("clientRequestId", "This request id was used for another operation.", { id: made.id });
    }
    return operationView(made);
  }
}

function apply({ emit }: Pick<Transaction, "emit">, operation: NodeOperation, change: () => void): OperationView {
  const previous = operationView(operation);
  change();
  const object = operationView(operation);
  if (JSON.stringify(previous) !== JSON.stringify(object))
    emit(OPERATION_STREAM, { type: "MODIFIED", objectId: operation.id, object, previous });
  return object;
}

function lock(em: EntityManager, id: string): Promise<NodeOperation | null> {
  return em.findOne(NodeOperation, { id }, { lockMode: LockMode.PESSIMISTIC_WRITE });
}

export function operationNotFound(id: string): FleetError {
  return new FleetError("NOT_FOUND", `Operation ${JSON.stringify(id.slice(0, 128))} does not exist, or is no longer kept.`, {
    details: { field: "operationId", kind: "NodeOperation", id: id.slice(0, 128) },
  });
}

function underWay(other: NodeOperation | null): FleetError {
  return new FleetError("CONFLICT", "Something else is being done to the node: wait for its end, or cancel it.", {
    reason: "OperationUnderWay",
    details: other === null ? {} : { nodeId: other.nodeId, operationId: other.id, kind: other.kind, phase: other.phase },
  });
}

function newRow(operation: NewOperation, phaseUntil: number) {
  return {
    ...operation,
    id: newId("op"),
    state: "RUNNING" as const,
    phase: "PREPARING" as const,
    cancelRequested: false,
    bootId: null,
    ordered: false,
    formerMaintenance: null,
    formerReason: null,
    progress: null,
    waitingFor: null,
    outcome: null,
    errorCode: null,
    errorReason: null,
    errorMessage: null,
    phaseUntil,
    silentSince: null,
    failures: 0,
    claim: 0,
    leaseUntil: 0,
    notBefore: 0,
    createdAt: new Date(),
    finishedAt: null,
  };
}
