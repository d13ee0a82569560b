import { requireRole } from "../../../../platform/auth/identity.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import { type NetworkCounters, TelemetryAgentServiceDefinition } from "../../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import type { AgentCommands } from "../../../kit/agents/agent-commands.ts";
import { checkId, checkInteger, checkListLength, checkName } from "../../../kit/input-checks.ts";

export interface TrafficWatch {
  nodeId: string;
  intervalSeconds: number;
  interfaces?: readonly string[] | null;
}

const MAX_SECONDS = 60;
const MAX_INTERFACES = 500;

/** The counters of a host's interfaces with their rates, as they go on. */
export class NodeTraffic {
  readonly #commands: AgentCommands;

  constructor(commands: AgentCommands) {
    this.#commands = commands;
  }

  /**
   * At the reader's pace, until it leaves. Rights: viewer. Throws INVALID_ARGUMENT at once; with the first sample NOT_FOUND, UNAVAILABLE with
   * an AgentRefusal as reason, also when the agent is lost on the way.
   */
  watch(ctx: RequestContext, { nodeId, intervalSeconds, interfaces }: TrafficWatch): AsyncIterableIterator<NetworkCounters> {
    requireRole(ctx.identity, "viewer");
    checkListLength("interfaces", interfaces ?? [], MAX_INTERFACES);
    const request = {
      nodeId: checkId("nodeId", nodeId),
      intervalSeconds: checkInteger("intervalSeconds", intervalSeconds, 1, MAX_SECONDS),
      interfaces: (interfaces ?? []).map((name) => checkName("interfaces", name) ?? ""),
    };
    return this.#commands.stream(ctx, request.nodeId, TelemetryAgentServiceDefinition, (client, options) =>
      client.watchNetworkCounters(request, options),
    );
  }
}
