import { type FilterQuery, LockMode } from "@mikro-orm/core";
import type { EntityManager, Store, Transaction } from "../../kit/store/orm.ts";
import { Instance } from "../entities/instance.ts";
import { InstanceLabel } from "../entities/instance-label.ts";
import { INSTANCE_STREAM, type InstanceView } from "./instance-types.ts";
import { instanceView } from "./instance-view.ts";

/** Every change of an instance goes through here: the row and its event in one transaction, and the dispatcher woken afterwards. */
export class InstanceWriter {
  readonly store: Store;
  readonly #listeners = new Set<(nodeIds: ReadonlySet<string>) => void>();

  constructor(store: Store) {
    this.store = store;
  }

  /** Called after a commit with the nodes whose agents have something to be told. Must not throw. */
  onPending(listener: (nodeIds: ReadonlySet<string>) => void): void {
    this.#listeners.add(listener);
  }

  /** As `Store.transaction`. */
  async transaction<T>(work: (instances: InstanceTransaction) => Promise<T>): Promise<T> {
    let pending: ReadonlySet<string> = new Set();
    const result = await this.store.transaction((tx) => {
      const instances = new InstanceTransaction(tx);
      // Of the attempt that counts.
      pending = instances.pending;
      return work(instances);
    });
    if (pending.size > 0) for (const listener of this.#listeners) listener(pending);
    return result;
  }
}

/** Instances that are read and changed in one transaction. */
export class InstanceTransaction {
  readonly em: EntityManager;
  /** Nodes whose agents have something to be told once this is committed. */
  readonly pending = new Set<string>();
  /** Of other streams than the instances'. */
  readonly emit: Transaction["emit"];

  constructor({ em, emit }: Transaction) {
    this.em = em;
    this.emit = emit;
  }

  /** Instances to be changed, by id: nobody else changes them until the transaction ends. */
  lock(where: FilterQuery<Instance>): Promise<Instance[]> {
    return this.em.find(Instance, where, { lockMode: LockMode.PESSIMISTIC_WRITE, orderBy: { id: "asc" } });
  }

  async lockOne(id: string): Promise<Instance | null> {
    const [instance] = await this.lock({ id });
    return instance ?? null;
  }

  /** Changes a locked instance, and emits what became of it where somebody can see a difference. Returns it as it is shown afterwards. */
  change(instance: Instance, change: () => void): InstanceView {
    const before = instanceView(instance);
    change();
    if (instance.managed && instance.state !== "DELETED" && instance.appliedRevision < instance.revision) this.pending.add(instance.nodeId);
    const changed = instanceView(instance);
    if (JSON.stringify(before) === JSON.stringify(changed)) return before;
    instance.updatedAt = new Date();
    const after = { ...changed, updatedAt: instance.updatedAt.toISOString() };
    if (before.state !== "DELETED") {
      const type = after.state === "DELETED" ? "DELETED" : "MODIFIED";
      this.emit(INSTANCE_STREAM, { type, objectId: instance.id, object: after, previous: before });
    }
    return after;
  }

  /** Stores a new instance and its ADDED event. */
  create(instance: Instance): InstanceView {
    this.em.persist(instance);
    for (const [key, value] of Object.entries(instance.labels)) {
      this.em.persist(this.em.create(InstanceLabel, { instanceId: instance.id, key, value }));
    }
    const view = instanceView(instance);
    this.emit(INSTANCE_STREAM, { type: "ADDED", objectId: instance.id, object: view, previous: null });
    if (instance.managed) this.pending.add(instance.nodeId);
    return view;
  }

  /** One that was found on a host, and is no longer there: nothing of it is kept. */
  forget(instance: Instance): void {
    const previous = instanceView(instance);
    const now = new Date().toISOString();
    this.em.remove(instance);
    this.emit(INSTANCE_STREAM, {
      type: "DELETED",
      objectId: instance.id,
      object: { ...previous, state: "DELETED", updatedAt: now, deletedAt: now },
      previous,
    });
  }
}
