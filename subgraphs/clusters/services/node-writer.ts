import { LockMode } from "@mikro-orm/core";
import type { EntityManager, Store, Transaction } from "../../kit/store/orm.ts";
import type { AllocationPolicy } from "../config.ts";
import { Node } from "../entities/node.ts";
import { NodeLiveness } from "../entities/node-liveness.ts";
import type { LeaseTable } from "./lease-table.ts";
import type { NodeCache } from "./node-cache.ts";
import { NODE_STREAM, type NodeView } from "./node-types.ts";
import { nodeView } from "./node-view.ts";

/** Every change of a node goes through here: the row and its event in one transaction, and the cache told afterwards. */
export class NodeWriter {
  readonly store: Store;
  readonly #policy: AllocationPolicy;
  readonly #leases: LeaseTable;
  readonly #cache: NodeCache;

  constructor(store: Store, policy: AllocationPolicy, leases: LeaseTable, cache: NodeCache) {
    this.store = store;
    this.#policy = policy;
    this.#leases = leases;
    this.#cache = cache;
  }

  /** Runs a transaction and then forgets what was known of the nodes whose ids `touched` has. */
  async transaction<T>(work: (tx: Transaction, touched: Set<string>) => Promise<T>): Promise<T> {
    const touched = new Set<string>();
    try {
      return await this.store.transaction((tx) => work(tx, touched));
    } finally {
      for (const id of touched) this.#cache.forget(id);
    }
  }

  /** A node to be changed: nobody else changes it until the transaction ends. */
  lock(em: EntityManager, id: string): Promise<Node | null> {
    return em.findOne(Node, { id }, { lockMode: LockMode.PESSIMISTIC_WRITE });
  }

  /** The view of a row, with what this process heard of the node and has not written yet. */
  async view(em: EntityManager, node: Node): Promise<NodeView> {
    const liveness = await em.findOne(NodeLiveness, { nodeId: node.id });
    return this.viewAt(node, liveness?.lastSeen ?? null);
  }

  viewAt(node: Node, stored: Date | null): NodeView {
    const heard = this.#leases.lastSeen(node.id);
    const lastSeen = heard !== undefined && heard > (stored?.getTime() ?? 0) ? new Date(heard) : stored;
    return nodeView(node, lastSeen, this.#policy);
  }

  /**
   * Changes a locked node by `change` and emits what became of it; without a visible or remembered difference nothing is written.
   * Returns the view afterwards.
   */
  async change(tx: Transaction, touched: Set<string>, node: Node, change: () => void, lastSeen?: Date): Promise<NodeView> {
    const before = await this.view(tx.em, node);
    const rememberedBefore = remembered(node);
    change();
    const seen = lastSeen ?? (before.lastSeen === null ? null : new Date(before.lastSeen));
    if (rememberedBefore === remembered(node) && sameView(before, this.viewAt(node, seen))) return before;
    node.updatedAt = new Date();
    const after = this.viewAt(node, seen);
    touched.add(node.id);
    if (before.deregistered && after.deregistered) return after;
    if (before.deregistered) tx.emit(NODE_STREAM, { type: "ADDED", objectId: node.id, object: after, previous: null });
    else if (after.deregistered) tx.emit(NODE_STREAM, { type: "DELETED", objectId: node.id, object: after, previous: before });
    else tx.emit(NODE_STREAM, { type: "MODIFIED", objectId: node.id, object: after, previous: before });
    return after;
  }

  /** Stores a new node and its ADDED event. */
  create(tx: Transaction, touched: Set<string>, node: Node): NodeView {
    tx.em.persist(node);
    tx.em.persist(tx.em.create(NodeLiveness, { nodeId: node.id, lastSeen: null, beats: 0 }));
    const view = this.viewAt(node, null);
    tx.emit(NODE_STREAM, { type: "ADDED", objectId: node.id, object: view, previous: null });
    touched.add(node.id);
    return view;
  }
}

/** What is stored and not shown, but decides about what comes next. */
function remembered({ statusByHand, reported, lease, registered }: Node): string {
  return JSON.stringify([statusByHand, reported, lease, registered]);
}

function sameView(a: NodeView, b: NodeView): boolean {
  return JSON.stringify({ ...a, lastSeen: null }) === JSON.stringify({ ...b, lastSeen: null });
}
