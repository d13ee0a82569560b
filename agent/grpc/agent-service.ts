import { FleetError, notFound } from "../../platform/errors/fleet-error.ts";
import { type GrpcService, grpcService } from "../../platform/grpc/server.ts";
import type { RequestContext } from "../../platform/request-context.ts";
import { AgentServiceDefinition, type HardwareUsage } from "../../schema/generated/proto/hypervisor/v1/agent.ts";
import { readHardwareUsage } from "../hardware/usage.ts";
import type { HostChannel } from "../host/host-channel.ts";

/** The host behind a node id; null for a node that is not this agent's. */
export type FindHost = (nodeId: string) => HostChannel | null;

/** What the control plane asks of an agent. Every call names its node. */
export function agentService(findHost: FindHost): GrpcService {
  const reading = new Map<HostChannel, Promise<HardwareUsage>>();
  return grpcService(AgentServiceDefinition, {
    async getHardwareUsage({ nodeId }, { fleet }) {
      const host = ownHost(fleet, nodeId, findHost);
      // Callers that ask at once get one reading.
      let usage = reading.get(host);
      if (usage === undefined) {
        usage = readHardwareUsage(host).finally(() => reading.delete(host));
        reading.set(host, usage);
      }
      return usage;
    },
  });
}

/** Throws UNAUTHENTICATED or FORBIDDEN for anyone but the control plane, NOT_FOUND for a node that is not this agent's. */
function ownHost({ identity }: RequestContext, nodeId: string, findHost: FindHost): HostChannel {
  if (identity === null) throw new FleetError("UNAUTHENTICATED", "An agent answers to certificates of the control plane only.");
  if (identity.kind !== "control") throw new FleetError("FORBIDDEN", "An agent obeys the control plane only.");
  const host = findHost(nodeId);
  if (host === null) throw notFound("Node", nodeId);
  return host;
}
