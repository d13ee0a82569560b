import { buildSubgraph, type SubgraphSchema } from "../kit/graphql/build-subgraph.ts";
import { NodeHardwareResolver, NodeStub, resolveNodeReference } from "./resolvers/node-hardware.ts";
import type { NodesContext } from "./resolvers/nodes-context.ts";

/** The subgraph's schema. Needs no database: services come with the context. */
export function nodesSchema(): SubgraphSchema {
  return buildSubgraph<NodesContext>({
    resolvers: [NodeHardwareResolver],
    orphanedTypes: [NodeStub],
    references: { Node: resolveNodeReference },
  });
}
