import { buildSubgraph, type SubgraphSchema } from "../kit/graphql/build-subgraph.ts";
import type { ClustersContext } from "./resolvers/clusters-context.ts";
import { KubernetesClusterEventsResolver } from "./resolvers/kubernetes/cluster-events.ts";
import { KubernetesClusterMutationsResolver } from "./resolvers/kubernetes/cluster-mutations.ts";
import { KubernetesClusterQueriesResolver, resolveKubernetesClusterReference } from "./resolvers/kubernetes/cluster-queries.ts";
import { KubernetesHealthMutationsResolver } from "./resolvers/kubernetes/health-mutations.ts";
import { KUBERNETES_OBJECT_RESOLVERS } from "./resolvers/kubernetes/objects/objects-resolvers.ts";
import { NodeEventsResolver } from "./resolvers/node-events.ts";
import { NodeMutationsResolver } from "./resolvers/node-mutations.ts";
import { NodeQueriesResolver, resolveNodeReference } from "./resolvers/node-queries.ts";

/** The subgraph's schema. Needs no database: services come with the context. */
export function clustersSchema(): SubgraphSchema {
  return buildSubgraph<ClustersContext>({
    resolvers: [
      NodeQueriesResolver,
      NodeMutationsResolver,
      NodeEventsResolver,
      KubernetesClusterQueriesResolver,
      KubernetesClusterMutationsResolver,
      KubernetesClusterEventsResolver,
      KubernetesHealthMutationsResolver,
      ...KUBERNETES_OBJECT_RESOLVERS,
    ],
    references: { Node: resolveNodeReference, KubernetesCluster: resolveKubernetesClusterReference },
  });
}
