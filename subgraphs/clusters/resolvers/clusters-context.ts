import DataLoader from "dataloader";
import type { RequestContext } from "../../../platform/request-context.ts";
import type { SubgraphContext } from "../../kit/graphql/context.ts";
import type { ClustersServices } from "../services/clusters-services.ts";
import type { KubernetesClusterView } from "../services/kubernetes/cluster-types.ts";
import type { NodeView } from "../services/node-types.ts";

/** What the resolvers of this subgraph find in their context. */
export interface ClustersContext extends SubgraphContext {
  readonly services: ClustersServices;
  /** By id; null where there is none. */
  readonly nodes: DataLoader<string, NodeView | null>;
  /** The same. */
  readonly kubernetesClusters: DataLoader<string, KubernetesClusterView | null>;
}

/** Anew for every query, mutation and event. */
export function clustersContext(services: ClustersServices, request: RequestContext): ClustersContext {
  const nodes = new DataLoader<string, NodeView | null>((ids) => services.queries.getMany(request, ids), { maxBatchSize: 500 });
  const kubernetesClusters = new DataLoader<string, KubernetesClusterView | null>(
    (ids) => services.kubernetes.queries.getMany(request, ids),
    { maxBatchSize: 500 },
  );
  return { request, services, nodes, kubernetesClusters };
}
