import { FleetError } from "../../platform/errors/fleet-error.ts";
import type { FleetServiceImplementation } from "../../platform/grpc/server.ts";
import { ClusterServiceDefinition } from "../../schema/generated/proto/hypervisor/v1/cluster.ts";

export type ClusterMethods = FleetServiceImplementation<typeof ClusterServiceDefinition>;

/** ClusterService with only these methods; the others answer UNIMPLEMENTED. For tests of the transport. */
export function clusterMethods(methods: Partial<ClusterMethods>): ClusterMethods {
  const missing = () => {
    throw new FleetError("UNIMPLEMENTED", "not in this test");
  };
  const all = Object.fromEntries(Object.keys(ClusterServiceDefinition.methods).map((name) => [name, async () => missing()]));
  return { ...all, watchNodes: missing, ...methods } as unknown as ClusterMethods;
}
