import { setTimeout as sleep } from "node:timers/promises";
import type { RequestContext } from "../../../../platform/request-context.ts";
import type { EventLog } from "../../../kit/events/event-log.ts";
import type { Store } from "../../../kit/store/orm.ts";
import { KubernetesCluster } from "../../entities/kubernetes-cluster.ts";
import { KUBERNETES_CLUSTER_STREAM, type KubernetesClusterView } from "./cluster-types.ts";
import { clusterView } from "./cluster-view.ts";

const RETRY_MS = 500;

/** Told of every change of a cluster, whichever replica made it; null: the cluster was deleted. Must not throw. */
export type ClusterListener = (id: string, cluster: KubernetesClusterView | null) => void;

/**
 * Follows the registry for this process. A listener is first told of all clusters that exist, and again whenever changes may have been
 * missed: it may hear the same twice, and never misses the last state of a cluster. Ends with the context's signal.
 */
export class ClusterNews {
  readonly #ctx: RequestContext;
  readonly #store: Store;
  readonly #log: EventLog;
  readonly #listeners = new Set<ClusterListener>();
  /** All that were told of, to tell of those that are gone. */
  readonly #known = new Map<string, KubernetesClusterView>();
  #loop: Promise<void> = Promise.resolve();

  constructor(ctx: RequestContext, store: Store, log: EventLog) {
    this.#ctx = ctx;
    this.#store = store;
    this.#log = log;
  }

  start(): void {
    this.#loop = this.#follow();
  }

  /** Resolves when it has ended, after the signal. */
  stopped(): Promise<void> {
    return this.#loop;
  }

  /** Returns an undo. One that comes late is told at once of the clusters that are known. */
  onChange(listener: ClusterListener): () => void {
    this.#listeners.add(listener);
    for (const [id, cluster] of this.#known) listener(id, cluster);
    return () => this.#listeners.delete(listener);
  }

  async #follow(): Promise<void> {
    const { signal, log } = this.#ctx;
    while (!signal.aborted) {
      try {
        const after = await this.#log.cursor(KUBERNETES_CLUSTER_STREAM);
        await this.#readAll();
        for await (const event of this.#log.watch<KubernetesClusterView>(KUBERNETES_CLUSTER_STREAM, { after, signal })) {
          if (event.objectId !== null) this.#tell(event.objectId, event.type === "DELETED" ? null : event.object);
        }
      } catch (error) {
        if (!signal.aborted) log.warn({ err: error }, "following Kubernetes clusters was interrupted; trying again");
      }
      await sleep(RETRY_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  async #readAll(): Promise<void> {
    const clusters = await this.#store.read((em) => em.find(KubernetesCluster, { deletedAt: null }));
    const views = new Map(clusters.map((cluster) => [cluster.id, clusterView(cluster)]));
    for (const id of [...this.#known.keys()]) if (!views.has(id)) this.#tell(id, null);
    for (const [id, view] of views) this.#tell(id, view);
  }

  #tell(id: string, cluster: KubernetesClusterView | null): void {
    if (cluster === null) this.#known.delete(id);
    else this.#known.set(id, cluster);
    for (const listener of this.#listeners) listener(id, cluster);
  }
}
