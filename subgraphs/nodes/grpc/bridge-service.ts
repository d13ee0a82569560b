import { type GrpcService, grpcService } from "../../../platform/grpc/server.ts";
import { BridgeServiceDefinition } from "../../../schema/generated/proto/hypervisor/v1/bridge.ts";
import type { BridgedHostLists } from "../services/hosts/bridged-host-lists.ts";

/** hypervisor.v1.BridgeService, for the agents' port. */
export function bridgeService(lists: BridgedHostLists): GrpcService {
  return grpcService(BridgeServiceDefinition, {
    watchBridgedHosts: ({ nodeId, willing }, { fleet }) => lists.watch(fleet, nodeId, willing),
  });
}
