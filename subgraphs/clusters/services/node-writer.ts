import { type FilterQuery, LockMode } from "@mikro-orm/core";
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

  /** As `Store.transaction`; afterwards what was known of the nodes that it touched is forgotten, however it ended. */
  async transaction<T>(work: (nodes: NodeTransaction) => Promise<T>): Promise<T> {
    const touched = new Set<string>();
    try {
      return await this.store.transaction((tx) => work(new NodeTransaction(tx, touched, (node, stored) => this.view(node, stored))));
    } finally {
      for (const id of touched) this.#cache.forget(id);
    }
  }

  /** The node as it is shown. `stored`: when it was last heard of, as far as that is written; what this process heard since counts, too. */
  view(node: Node, stored: Date | null): NodeView {
    const heard = this.#leases.lastSeen(node.id);
    const lastSeen = heard !== undefined && heard > (stored?.getTime() ?? 0) ? new Date(heard) : stored;
    return nodeView(node, lastSeen, this.#policy);
  }
}

/** Nodes that are read and changed in one transaction. */
export class NodeTransaction {
  readonly em: EntityManager;
  readonly #tx: Transaction;
  readonly #touched: Set<string>;
  readonly #view: (node: Node, stored: Date | null) => NodeView;
  readonly #lastSeen = new Map<string, Date | null>();

  constructor(tx: Transaction, touched: Set<string>, view: (node: Node, stored: Date | null) => NodeView) {
    this.em = tx.em;
    this.#tx = tx;
    this.#touched = touched;
    this.#view = view;
  }

  get emit(): Transaction["emit"] {
    return this.#tx.emit;
  }

  /** What is known of the node outside is out of date after this transaction. */
  touch(id: string): void {
    this.#touched.add(id);
  }

  /** Nodes to be changed, by id: nobody else changes them until the transaction ends. */
  async lock(where: FilterQuery<Node>): Promise<Node[]> {
    const nodes = await this.em.find(Node, where, { lockMode: LockMode.PESSIMISTIC_WRITE, orderBy: { id: "asc" } });
    if (nodes.length > 0) {
      const liveness = await this.em.find(NodeLiveness, { nodeId: { $in: nodes.map(({ id }) => id) } });
      for (const { nodeId, lastSeen } of liveness) this.#lastSeen.set(nodeId, lastSeen);
    }
    return nodes;
  }

  async lockOne(id: string): Promise<Node | null> {
    const [node] = await this.lock({ id });
    return node ?? null;
  }

  view(node: Node): NodeView {
    return this.#view(node, this.#lastSeen.get(node.id) ?? null);
  }

  /**
   * Changes a locked node and emits what became of it; where nothing differs, neither for those who look nor for what is remembered,
   * nothing is stored. `heardAt`: the node was heard of just now. Returns the node as it is shown afterwards.
   */
  change(node: Node, change: () => void, heardAt?: Date): NodeView {
    const before = this.view(node);
    const rememberedBefore = remembered(node);
    change();
    if (rememberedBefore === remembered(node) && sameView(before, this.view(node))) return before;
    if (heardAt) this.#lastSeen.set(node.id, heardAt);
    node.updatedAt = new Date();
    const after = this.view(node);
    this.touch(node.id);
    if (before.deregistered && !after.deregistered) {
      this.emit(NODE_STREAM, { type: "ADDED", objectId: node.id, object: after, previous: null });
    } else if (!before.deregistered) {
      this.emit(NODE_STREAM, { type: after.deregistered ? "DELETED" : "MODIFIED", objectId: node.id, object: after, previous: before });
    }
    return after;
  }

  /** Stores a new node and its ADDED event. */
  create(node: Node): NodeView {
    this.em.persist(node);
    this.em.persist(this.em.create(NodeLiveness, { nodeId: node.id, lastSeen: null, beats: 0 }));
    const view = this.view(node);
    this.emit(NODE_STREAM, { type: "ADDED", objectId: node.id, object: view, previous: null });
    this.touch(node.id);
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
