import type { KubernetesCluster } from "../../entities/kubernetes-cluster.ts";

/** What is known of a cluster before the first check, beside what was given. */
export function newCluster(given: GivenCluster): KubernetesCluster {
  const now = new Date();
  return {
    ...given,
    revision: 1,
    ...{ healthStatus: "UNKNOWN", healthReason: null, healthMessage: null, healthSince: now, lastConnectedAt: null },
    ...{ version: null, nodeCount: 0, podCount: 0, prometheusUrl: null, prometheus: null },
    ...{ checkClaimedBy: null, checkClaimedUntil: 0 },
    ...{ discoveryClaimedBy: null, discoveryClaimedUntil: 0 },
    ...{ deletedAt: null, createdAt: now, updatedAt: now },
  };
}

type GivenCluster = Pick<
  KubernetesCluster,
  | "id"
  | "name"
  | "isDefault"
  | "enabled"
  | "context"
  | "contexts"
  | "sealedKubeconfig"
  | "discoverPrometheus"
  | "clientRequestId"
  | "createdBy"
>;
