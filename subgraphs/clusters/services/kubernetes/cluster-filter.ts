import type { KubernetesClusterFilter, KubernetesClusterView } from "./cluster-types.ts";

/** The filter for lists and watches; undefined where everything matches. */
export function clusterMatcher(
  { name, enabled, healthStatuses, isDefault }: KubernetesClusterFilter,
  clusterIds: readonly string[] = [],
): ((cluster: KubernetesClusterView) => boolean) | undefined {
  const ids = clusterIds.length > 0 ? new Set(clusterIds) : null;
  if (ids === null && name === null && enabled === null && healthStatuses === null && isDefault === null) return undefined;
  return (cluster) =>
    (ids === null || ids.has(cluster.id)) &&
    (name === null || cluster.name.toLowerCase().includes(name)) &&
    (enabled === null || cluster.enabled === enabled) &&
    (healthStatuses === null || healthStatuses.includes(cluster.healthStatus)) &&
    (isDefault === null || cluster.isDefault === isDefault);
}
