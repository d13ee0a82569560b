import { type GrpcService, grpcService } from "../../platform/grpc/server.ts";
import { InstanceAgentServiceDefinition } from "../../schema/generated/proto/hypervisor/v1/instances.ts";
import type { NodeInstances } from "../instances/node-instances.ts";
import { ofOwnNode } from "./callers.ts";
import { checkApply, checkSample } from "./instance-requests.ts";

/** The instances of a node by its id; null for a node that is not this agent's. */
export type FindInstances = (nodeId: string) => NodeInstances | null;

/** What the control plane asks of an agent about instances. Every call names its node. */
export function instanceAgentService(findInstances: FindInstances): GrpcService {
  return grpcService(InstanceAgentServiceDefinition, {
    async applyInstance(request, { fleet }) {
      const instances = ofOwnNode(fleet, request.nodeId, findInstances);
      checkApply(request);
      const keeper = await instances.keeperOf(request.nodeId);
      return { revision: await keeper.apply(request) };
    },
    async sampleInstances(request, { fleet }) {
      const instances = ofOwnNode(fleet, request.nodeId, findInstances);
      checkSample(request);
      const sampler = await instances.samplerOf(request.nodeId);
      return { stats: await sampler.sample(request.instanceIds) };
    },
  });
}
