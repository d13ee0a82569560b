import type { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import { parseKubeconfig } from "../../../kit/kubernetes/kubeconfig.ts";
import { openKubernetes } from "../../../kit/kubernetes/kubernetes-client.ts";
import type { KubernetesApi } from "../../../kit/kubernetes/types.ts";
import type { Store } from "../../../kit/store/orm.ts";
import { KubernetesCluster } from "../../entities/kubernetes-cluster.ts";
import { clusterAccessChanged, clusterDeleted, clusterDisabled, clusterNotFound } from "./cluster-errors.ts";
import type { ClusterNews } from "./cluster-news.ts";
import type { KubernetesClusterView } from "./cluster-types.ts";
import { clusterView } from "./cluster-view.ts";
import type { KubeconfigSecrets } from "./kubeconfig-secrets.ts";

export interface ClusterClient {
  api: KubernetesApi;
  /** As it was just read; its `revision` is the client's. */
  cluster: KubernetesClusterView;
}

/** Told which cluster's client was closed, and what those who used it are to be told. Must not throw. */
export type DropListener = (clusterId: string, why: FleetError) => void;

interface KeptClient {
  /** Of the access, which grows also when the cluster is disabled and enabled. */
  revision: number;
  api: Promise<KubernetesApi>;
  /** Why it is of no use any more. */
  dropped: FleetError | null;
}

/**
 * The clients of clusters: one per cluster and revision of its access, in this process. One is closed when its cluster's access changes, or the
 * cluster is disabled or deleted, also by another replica.
 */
export class ClusterClients {
  readonly #ctx: RequestContext;
  readonly #store: Store;
  readonly #secrets: KubeconfigSecrets;
  readonly #kept = new Map<string, KeptClient>();
  readonly #listeners = new Set<DropListener>();

  /** `ctx`: the control plane itself, which reads the kubeconfigs. */
  constructor(ctx: RequestContext, store: Store, secrets: KubeconfigSecrets) {
    this.#ctx = ctx;
    this.#store = store;
    this.#secrets = secrets;
  }

  follow(news: ClusterNews): void {
    news.onChange((id, cluster) => {
      if (cluster === null) this.drop(id, clusterDeleted(id));
      else this.#compare(cluster);
    });
  }

  /** Returns an undo. */
  onDropped(listener: DropListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Nothing is sent to the cluster yet. The client is not the caller's to close. Rights are the caller's to check. Throws NOT_FOUND,
   * FAILED_PRECONDITION (ClusterDisabled; SecretKeyMissing, SecretDamaged for a kubeconfig that cannot be opened).
   */
  async api(clusterId: string): Promise<ClusterClient> {
    for (;;) {
      const row = await this.#store.read((em) => em.findOne(KubernetesCluster, { id: clusterId, deletedAt: null }));
      if (row === null) throw clusterNotFound(clusterId);
      if (!row.enabled) throw clusterDisabled(clusterId);
      const cluster = clusterView(row);
      this.#compare(cluster);
      const kept = this.#kept.get(clusterId) ?? this.#keep(cluster);
      const api = await kept.api;
      // One that was closed while it was opened, or is newer than what was read: the row as it is now counts.
      if (kept.dropped === null && kept.revision === cluster.revision) return { api, cluster };
    }
  }

  /** Closes a cluster's client and tells whoever uses it; nothing where there is none. */
  drop(clusterId: string, why: FleetError): void {
    const kept = this.#kept.get(clusterId);
    if (kept === undefined) return;
    this.#kept.delete(clusterId);
    kept.dropped = why;
    for (const listener of this.#listeners) listener(clusterId, why);
    void kept.api.then((api) => api.close()).catch(() => undefined);
  }

  /** Closes all. After the signal of the context. */
  async stop(): Promise<void> {
    const all = [...this.#kept.values()];
    this.#kept.clear();
    await Promise.allSettled(all.map(async ({ api }) => (await api).close()));
  }

  #compare({ id, enabled, revision }: KubernetesClusterView): void {
    const kept = this.#kept.get(id);
    // An event of before the client was made says nothing about it.
    if (kept !== undefined && revision > kept.revision) this.drop(id, enabled ? clusterAccessChanged(id) : clusterDisabled(id));
  }

  #keep({ id, revision }: KubernetesClusterView): KeptClient {
    const opening = this.#open(id);
    const kept: KeptClient = { revision, api: opening.then(({ api }) => api), dropped: null };
    this.#kept.set(id, kept);
    opening.then(
      (opened) => {
        kept.revision = opened.revision;
      },
      // What could not be opened is tried again by the next call.
      () => {
        if (this.#kept.get(id) === kept) this.#kept.delete(id);
      },
    );
    return kept;
  }

  async #open(id: string): Promise<{ api: KubernetesApi; revision: number }> {
    const opened = await this.#secrets.open(this.#ctx, id, "to reach the cluster");
    if (opened === null) throw clusterNotFound(id);
    const access = parseKubeconfig(opened.kubeconfig).access(opened.context);
    return { api: openKubernetes(access, { log: this.#ctx.log.child({ kubernetesCluster: id }) }), revision: opened.revision };
  }
}
