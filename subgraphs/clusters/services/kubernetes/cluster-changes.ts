import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import { KubernetesCluster } from "../../entities/kubernetes-cluster.ts";
import { clusterDisabled, defaultInUse, nameTaken } from "./cluster-errors.ts";
import type { KubernetesClusterView } from "./cluster-types.ts";
import type { ClusterTransaction } from "./cluster-writer.ts";
import { withoutRun } from "./prometheus-state.ts";

/** Clusters that are not deleted. */
export const MAX_CLUSTERS = 1_000;

/** What may change of a locked cluster, beside its access. Left out: as it is. */
export interface ClusterIntent {
  name?: string | undefined;
  isDefault?: boolean | undefined;
  enabled?: boolean | undefined;
}

/*
 * The rules of the registry. All of it runs in a registry transaction: names and the default are judged by what nobody else changes meanwhile.
 */

/** Throws INVALID_ARGUMENT (name), RESOURCE_EXHAUSTED. */
export async function checkRoom({ em }: ClusterTransaction, name: string): Promise<void> {
  if ((await em.count(KubernetesCluster, { name, deletedAt: null })) > 0) throw nameTaken(name);
  if ((await em.count(KubernetesCluster, { deletedAt: null })) >= MAX_CLUSTERS) {
    throw new FleetError("RESOURCE_EXHAUSTED", `At most ${MAX_CLUSTERS} Kubernetes clusters can be registered.`, {
      reason: "TooManyClusters",
      details: { clusters: MAX_CLUSTERS },
    });
  }
}

/**
 * Renames, enables, disables, or changes who is the default, with `more` in the same event. Throws INVALID_ARGUMENT (name),
 * FAILED_PRECONDITION: DefaultCluster where the default would cease to be one or to be enabled while others exist, ClusterDisabled where a
 * disabled one is to become the default.
 */
export async function changeCluster(
  clusters: ClusterTransaction,
  cluster: KubernetesCluster,
  { name = cluster.name, isDefault = cluster.isDefault, enabled = cluster.enabled }: ClusterIntent,
  more: () => void = () => undefined,
): Promise<KubernetesClusterView> {
  const { id } = cluster;
  if (name !== cluster.name && (await clusters.em.count(KubernetesCluster, { name, deletedAt: null })) > 0) throw nameTaken(name);
  if (cluster.isDefault && !(isDefault && enabled)) await refuseWhileOthers(clusters, cluster);
  if (isDefault && !cluster.isDefault) {
    if (!enabled) throw clusterDisabled(id);
    await takeDefault(clusters);
  }
  return clusters.change(cluster, () => {
    Object.assign(cluster, { name, isDefault });
    if (enabled !== cluster.enabled) setEnabled(cluster, enabled);
    more();
  });
}

/** Nobody is the default afterwards. */
export async function takeDefault(clusters: ClusterTransaction): Promise<void> {
  const former = await clusters.lockDefault();
  if (former === null) return;
  clusters.change(former, () => {
    former.isDefault = false;
  });
  // Before another becomes it: the database sees to it that there are never two.
  await clusters.em.flush();
}

/** Its name is free again, and its kubeconfig is gone. Throws FAILED_PRECONDITION (DefaultCluster). */
export async function deleteCluster(clusters: ClusterTransaction, cluster: KubernetesCluster): Promise<KubernetesClusterView> {
  if (cluster.isDefault) await refuseWhileOthers(clusters, cluster);
  return clusters.change(cluster, () => {
    cluster.deletedAt = new Date();
    cluster.revision += 1;
    cluster.sealedKubeconfig = "";
    cluster.prometheus = withoutRun(cluster.prometheus, "The cluster was deleted.", true);
  });
}

/** Whoever works with the former access is of no use from now on; a check follows at once. */
export function renewAccess(cluster: KubernetesCluster): void {
  cluster.revision += 1;
  cluster.prometheus = withoutRun(cluster.prometheus, "The access to the cluster was changed.", true);
  releaseDiscovery(cluster);
}

/** Null: looked for again. */
export function setPrometheusUrl(cluster: KubernetesCluster, url: string | null): void {
  if (url === cluster.prometheusUrl) return;
  cluster.prometheusUrl = url;
  cluster.prometheus = withoutRun(cluster.prometheus, "A URL was set by hand.", false);
  if (url === null) cluster.discoverPrometheus = true;
  releaseDiscovery(cluster);
}

function setEnabled(cluster: KubernetesCluster, enabled: boolean): void {
  cluster.enabled = enabled;
  cluster.healthStatus = "UNKNOWN";
  cluster.healthReason = enabled ? null : "Disabled";
  cluster.healthMessage = enabled ? null : "The cluster is disabled: it is neither checked nor watched.";
  cluster.healthSince = new Date();
  renewAccess(cluster);
}

function releaseDiscovery(cluster: KubernetesCluster): void {
  cluster.discoveryClaimedBy = null;
  cluster.discoveryClaimedUntil = 0;
}

async function refuseWhileOthers({ em }: ClusterTransaction, { id }: KubernetesCluster): Promise<void> {
  if ((await em.count(KubernetesCluster, { id: { $ne: id }, deletedAt: null })) > 0) throw defaultInUse(id);
}
