import { buildSubgraph, type SubgraphSchema } from "../kit/graphql/build-subgraph.ts";
import { DEVICE_FIELDS } from "./resolvers/devices/device-fields.ts";
import { HostMutationsResolver } from "./resolvers/hosts/host-mutations.ts";
import { InstanceStub, resolveInstanceReference } from "./resolvers/instance-stub.ts";
import { INVENTORY_FIELDS } from "./resolvers/inventory/inventory-fields.ts";
import { NodeLogsResolver } from "./resolvers/logs/node-logs.ts";
import { NodeStub, resolveNodeReference } from "./resolvers/node-stub.ts";
import type { NodesContext } from "./resolvers/nodes-context.ts";
import { OPERATION_FIELDS } from "./resolvers/operations/operation-fields.ts";

/** The subgraph's schema. Needs no database: services come with the context. */
export function nodesSchema(): SubgraphSchema {
  return buildSubgraph<NodesContext>({
    resolvers: [...INVENTORY_FIELDS, NodeLogsResolver, HostMutationsResolver, ...OPERATION_FIELDS, ...DEVICE_FIELDS],
    orphanedTypes: [NodeStub, InstanceStub],
    references: { Node: resolveNodeReference, Instance: resolveInstanceReference },
  });
}
