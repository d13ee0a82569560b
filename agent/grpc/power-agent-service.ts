import { invalidArgument } from "../../platform/errors/fleet-error.ts";
import { type GrpcService, grpcService } from "../../platform/grpc/server.ts";
import type { Logger } from "../../platform/observability/log.ts";
import type { RequestContext } from "../../platform/request-context.ts";
import { PowerAgentServiceDefinition, type PowerRequest } from "../../schema/generated/proto/hypervisor/v1/power.ts";
import type { HostChannel } from "../host/host-channel.ts";
import { HostPower } from "../power/host-power.ts";
import type { FindHost } from "./agent-service.ts";
import { ofOwnNode } from "./callers.ts";

const MAX_ID = 128;
const MAX_REASON = 1000;

/** Reboots and shuts down the hosts of this agent. `isAllowed`: by its own configuration. Every call names its node. */
export function powerAgentService(findHost: FindHost, isAllowed: boolean, log: Logger): GrpcService {
  const powers = new WeakMap<HostChannel, HostPower>();
  const powerOf = (fleet: RequestContext, nodeId: string): HostPower => {
    const host = ofOwnNode(fleet, nodeId, findHost);
    const power = powers.get(host) ?? new HostPower(host, isAllowed, log.child({ nodeId }));
    powers.set(host, power);
    return power;
  };
  return grpcService(PowerAgentServiceDefinition, {
    getPower: ({ nodeId }, { fleet }) => powerOf(fleet, nodeId).state(),
    reboot: (request, { fleet }) => powerOf(fleet, request.nodeId).order("REBOOT", checked(request)),
    shutdown: (request, { fleet }) => powerOf(fleet, request.nodeId).order("SHUTDOWN", checked(request)),
  });
}

function checked(request: PowerRequest): PowerRequest {
  for (const [field, value] of [
    ["operation_id", request.operationId],
    ["boot_id", request.bootId],
  ] as const) {
    if (value === "" || value.length > MAX_ID) throw invalidArgument(field, "An id is needed.");
  }
  if (request.reason.length > MAX_REASON) throw invalidArgument("reason", `At most ${MAX_REASON} characters.`);
  return request;
}
