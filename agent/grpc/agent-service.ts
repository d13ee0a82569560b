import { type GrpcService, grpcService } from "../../platform/grpc/server.ts";
import { AgentServiceDefinition, type HardwareUsage } from "../../schema/generated/proto/hypervisor/v1/agent.ts";
import { readHardwareUsage, USAGE_NEEDS } from "../hardware/usage.ts";
import type { HostChannel } from "../host/host-channel.ts";
import { ofOwnNode } from "./callers.ts";

/** The host behind a node id; null for a node that is not this agent's. */
export type FindHost = (nodeId: string) => HostChannel | null;

/** What the control plane asks of an agent. Every call names its node. */
export function agentService(findHost: FindHost): GrpcService {
  const reading = new Map<HostChannel, Promise<HardwareUsage>>();
  return grpcService(AgentServiceDefinition, {
    async getHardwareUsage({ nodeId }, { fleet }) {
      const host = ofOwnNode(fleet, nodeId, findHost);
      // Callers that ask at once get one reading.
      let usage = reading.get(host);
      if (usage === undefined) {
        usage = readUsage(host).finally(() => reading.delete(host));
        reading.set(host, usage);
      }
      return usage;
    },
  });
}

async function readUsage(host: HostChannel): Promise<HardwareUsage> {
  // Of a host that cannot be reached every value is null, with that reason.
  return readHardwareUsage(await host.snapshot(USAGE_NEEDS).catch(() => host));
}
