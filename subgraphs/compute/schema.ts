import { buildSubgraph, type SubgraphSchema } from "../kit/graphql/build-subgraph.ts";
import type { ComputeContext } from "./resolvers/compute-context.ts";
import { InstanceEventsResolver } from "./resolvers/instance-events.ts";
import { INSTANCE_FIELDS } from "./resolvers/instance-fields.ts";
import { InstanceMutationsResolver } from "./resolvers/instance-mutations.ts";
import { InstanceQueriesResolver, resolveInstanceReference } from "./resolvers/instance-queries.ts";
import { InstanceStatsResolver } from "./resolvers/instance-stats.ts";
import { NodeInstancesResolver, resolveNodeReference } from "./resolvers/node-instances.ts";

/** The subgraph's schema. Needs no database: services come with the context. */
export function computeSchema(): SubgraphSchema {
  return buildSubgraph<ComputeContext>({
    resolvers: [
      InstanceQueriesResolver,
      ...INSTANCE_FIELDS,
      InstanceMutationsResolver,
      InstanceEventsResolver,
      InstanceStatsResolver,
      NodeInstancesResolver,
    ],
    references: { Instance: resolveInstanceReference, Node: resolveNodeReference },
  });
}
