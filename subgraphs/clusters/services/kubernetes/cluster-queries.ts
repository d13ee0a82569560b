import { requireRole } from "../../../../platform/auth/identity.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import type { LogEvent } from "../../../kit/events/event.ts";
import type { EventLog } from "../../../kit/events/event-log.ts";
import { checkId, checkListLength, isStorable } from "../../../kit/input-checks.ts";
import { type Connection, type ConnectionArguments, sortedConnection } from "../../../kit/pagination.ts";
import type { Store } from "../../../kit/store/orm.ts";
import { KubernetesCluster } from "../../entities/kubernetes-cluster.ts";
import { clusterNotFound } from "./cluster-errors.ts";
import { clusterMatcher } from "./cluster-filter.ts";
import { checkClusterFilter, type RawClusterFilter } from "./cluster-input.ts";
import { CLUSTER_HEALTHS, type ClusterHealth, KUBERNETES_CLUSTER_STREAM, type KubernetesClusterView } from "./cluster-types.ts";
import { clusterView } from "./cluster-view.ts";
import type { KubeconfigSecrets } from "./kubeconfig-secrets.ts";

/** Cluster ids that one watch may name. */
const MAX_WATCHED_IDS = 1_000;

export interface KubernetesClusterTotals {
  byHealthStatus: Array<{ healthStatus: ClusterHealth; count: number }>;
  nodeCount: number;
  podCount: number;
}

export interface KubernetesClusterList extends Connection<KubernetesClusterView> {
  totals: KubernetesClusterTotals;
  watchCursor: string;
}

export interface KubernetesClusterWatch {
  clusterIds?: readonly string[] | null;
  filter?: RawClusterFilter | null;
  after?: string | null;
  snapshot?: boolean | null;
}

/** What can be read of clusters. Deleted ones do not exist here. */
export class KubernetesClusterQueries {
  readonly #store: Store;
  readonly #log: EventLog;
  readonly #secrets: KubeconfigSecrets;

  constructor(store: Store, log: EventLog, secrets: KubeconfigSecrets) {
    this.#store = store;
    this.#log = log;
    this.#secrets = secrets;
  }

  /** Rights: viewer. Throws NOT_FOUND. */
  async get(ctx: RequestContext, id: string): Promise<KubernetesClusterView> {
    const [cluster] = await this.getMany(ctx, [checkId("id", id)]);
    if (!cluster) throw clusterNotFound(id);
    return cluster;
  }

  /** In the order of the ids, null where there is none. Rights: viewer. */
  async getMany(ctx: RequestContext, ids: readonly string[]): Promise<Array<KubernetesClusterView | null>> {
    requireRole(ctx.identity, "viewer");
    const clusters = await this.#store.read((em) => em.find(KubernetesCluster, { id: { $in: ids.filter(isStorable) }, deletedAt: null }));
    const views = new Map(clusters.map((cluster) => [cluster.id, clusterView(cluster)]));
    return ids.map((id) => views.get(id) ?? null);
  }

  /** Null while none is. Rights: viewer. */
  async getDefault(ctx: RequestContext): Promise<KubernetesClusterView | null> {
    requireRole(ctx.identity, "viewer");
    const cluster = await this.#store.read((em) => em.findOne(KubernetesCluster, { isDefault: true, deletedAt: null }));
    return cluster && clusterView(cluster);
  }

  /** By name. They are few enough (see MAX_CLUSTERS) to be listed in memory. Rights: viewer. */
  async list(
    ctx: RequestContext,
    rawFilter: RawClusterFilter | null | undefined,
    page: ConnectionArguments,
  ): Promise<KubernetesClusterList> {
    requireRole(ctx.identity, "viewer");
    const matches = clusterMatcher(checkClusterFilter(rawFilter)) ?? (() => true);
    const watchCursor = await this.#log.cursor(KUBERNETES_CLUSTER_STREAM);
    const clusters = await this.#store.read((em) => em.find(KubernetesCluster, { deletedAt: null }));
    const items = clusters.map(clusterView).filter(matches).sort(byName);
    return { ...sortedConnection({ list: "kubernetesClusters", items, sort: "name" }, page), totals: totalsOf(items), watchCursor };
  }

  /** Rights: viewer. Throws INVALID_ARGUMENT at once; what is wrong with `after` comes with the first event. */
  watch(
    ctx: RequestContext,
    { clusterIds, filter, after, snapshot }: KubernetesClusterWatch,
  ): AsyncIterableIterator<LogEvent<KubernetesClusterView>> {
    requireRole(ctx.identity, "viewer");
    checkListLength("clusterIds", clusterIds ?? [], MAX_WATCHED_IDS);
    for (const id of clusterIds ?? []) checkId("clusterIds", id);
    return this.#log.watch<KubernetesClusterView>(KUBERNETES_CLUSTER_STREAM, {
      after,
      snapshot: snapshot ?? false,
      matches: clusterMatcher(checkClusterFilter(filter), clusterIds ?? []),
      bookmarks: true,
      signal: ctx.signal,
    });
  }

  /** In base64, as YAML. Who read it is logged. Null where there is no such cluster. Rights: admin. Throws FAILED_PRECONDITION (SecretKeyMissing, SecretDamaged). */
  async kubeconfig(ctx: RequestContext, id: string): Promise<string | null> {
    requireRole(ctx.identity, "admin");
    const opened = await this.#secrets.open(ctx, id, "to show it");
    return opened && Buffer.from(opened.kubeconfig).toString("base64");
  }
}

function byName(a: KubernetesClusterView, b: KubernetesClusterView): number {
  return a.name < b.name ? -1 : Number(a.name > b.name);
}

function totalsOf(clusters: readonly KubernetesClusterView[]): KubernetesClusterTotals {
  const sum = (field: "nodeCount" | "podCount") => clusters.reduce((total, cluster) => total + (cluster[field] ?? 0), 0);
  const count = (status: ClusterHealth) => clusters.filter(({ healthStatus }) => healthStatus === status).length;
  return {
    byHealthStatus: CLUSTER_HEALTHS.map((healthStatus) => ({ healthStatus, count: count(healthStatus) })),
    nodeCount: sum("nodeCount"),
    podCount: sum("podCount"),
  };
}
