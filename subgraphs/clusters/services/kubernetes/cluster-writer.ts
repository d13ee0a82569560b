import { LockMode } from "@mikro-orm/core";
import type { EntityManager, Store, Transaction } from "../../../kit/store/orm.ts";
import { KubernetesCluster } from "../../entities/kubernetes-cluster.ts";
import { KUBERNETES_CLUSTER_STREAM, type KubernetesClusterView } from "./cluster-types.ts";
import { clusterView } from "./cluster-view.ts";

/** Of the advisory lock that orders changes of the registry; any constant that all versions of us share. */
const REGISTRY_LOCK = 0x6b38_7300;

/** Every change of a cluster goes through here: the row and its event in one transaction. */
export class ClusterWriter {
  readonly store: Store;

  constructor(store: Store) {
    this.store = store;
  }

  /** As `Store.transaction`, for the change of one cluster. */
  transaction<T>(work: (clusters: ClusterTransaction) => Promise<T>): Promise<T> {
    return this.store.transaction((tx) => work(new ClusterTransaction(tx)));
  }

  /** One at a time among all replicas: for what looks at several clusters, such as who is the default. */
  registryTransaction<T>(work: (clusters: ClusterTransaction) => Promise<T>): Promise<T> {
    return this.store.transaction(async (tx) => {
      if (this.store.dialect === "postgresql") await tx.em.execute(`select pg_advisory_xact_lock(${REGISTRY_LOCK})`);
      return work(new ClusterTransaction(tx));
    });
  }
}

/** Clusters that are read and changed in one transaction. */
export class ClusterTransaction {
  readonly em: EntityManager;
  readonly #emit: Transaction["emit"];

  constructor({ em, emit }: Transaction) {
    this.em = em;
    this.#emit = emit;
  }

  /** To be changed: nobody else changes it until the transaction ends. Null where there is none, or it was deleted. */
  lock(id: string): Promise<KubernetesCluster | null> {
    return this.em.findOne(KubernetesCluster, { id, deletedAt: null }, { lockMode: LockMode.PESSIMISTIC_WRITE });
  }

  /** The default, to be changed. */
  lockDefault(): Promise<KubernetesCluster | null> {
    return this.em.findOne(KubernetesCluster, { isDefault: true, deletedAt: null }, { lockMode: LockMode.PESSIMISTIC_WRITE });
  }

  /** Changes a locked cluster and emits what became of it; where nothing that is shown differs, there is no event. */
  change(cluster: KubernetesCluster, change: () => void): KubernetesClusterView {
    const before = clusterView(cluster);
    change();
    if (cluster.deletedAt === null && JSON.stringify(before) === JSON.stringify(clusterView(cluster))) return before;
    cluster.updatedAt = new Date();
    const after = clusterView(cluster);
    const type = cluster.deletedAt === null ? "MODIFIED" : "DELETED";
    this.#emit(KUBERNETES_CLUSTER_STREAM, { type, objectId: cluster.id, object: after, previous: before });
    return after;
  }

  /** Stores a new cluster and its ADDED event. */
  create(cluster: KubernetesCluster): KubernetesClusterView {
    this.em.persist(cluster);
    const view = clusterView(cluster);
    this.#emit(KUBERNETES_CLUSTER_STREAM, { type: "ADDED", objectId: cluster.id, object: view, previous: null });
    return view;
  }
}
