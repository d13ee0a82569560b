import type { KubernetesCluster } from "../../entities/kubernetes-cluster.ts";
import type { KubernetesClusterView, PrometheusView } from "./cluster-types.ts";

/** The cluster as it is shown, and in events as it then was. */
export function clusterView(cluster: KubernetesCluster): KubernetesClusterView {
  return {
    id: cluster.id,
    name: cluster.name,
    isDefault: cluster.isDefault,
    enabled: cluster.enabled,
    context: cluster.context,
    contexts: cluster.contexts,
    revision: cluster.revision,
    healthStatus: cluster.healthStatus,
    healthReason: cluster.healthReason,
    healthMessage: cluster.healthMessage,
    healthSince: cluster.healthSince.toISOString(),
    lastConnectedAt: cluster.lastConnectedAt?.toISOString() ?? null,
    version: cluster.version,
    nodeCount: cluster.nodeCount,
    podCount: cluster.podCount,
    prometheus: prometheusView(cluster),
    createdAt: cluster.createdAt.toISOString(),
    updatedAt: cluster.updatedAt.toISOString(),
  };
}

/** A URL that was set by hand counts before what was found; the last run stays to be seen. */
function prometheusView({ prometheusUrl, discoverPrometheus, prometheus }: KubernetesCluster): PrometheusView {
  const { lastRun, candidates } = prometheus ?? { lastRun: null, candidates: [] };
  if (prometheusUrl !== null) return { url: prometheusUrl, source: "MANUAL", state: "CONFIGURED", lastRun, candidates };
  const url = prometheus?.url ?? null;
  const source = url === null ? null : "DISCOVERED";
  const state = prometheus?.state ?? "PENDING";
  // What a run on demand found holds, also where none is begun by itself.
  return { url, source, state: state === "PENDING" && !discoverPrometheus ? "OFF" : state, lastRun, candidates };
}
