import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import { BridgeAgentServiceDefinition, type HostAccess, type ProbedHost } from "../../../../schema/generated/proto/hypervisor/v1/bridge.ts";
import type { Resources } from "../../../../schema/generated/proto/hypervisor/v1/common.ts";
import type { AgentCommands } from "../../../kit/agents/agent-commands.ts";
import type { NodeRecord } from "../../../kit/agents/node-record.ts";
import type { BridgedHost } from "../../entities/bridged-host.ts";
import type { BridgeCandidate } from "./bridge-streams.ts";
import { ADDITION_STEPS, type AdditionStep } from "./host-types.ts";

export type FoundHost = ProbedHost & { capacity: Resources };

/** Of one agent; and agents that are asked, where the first ones do not get through to the host. */
const PROBE_MS = 20_000;
const MAX_AGENTS = 3;

/** Steps at which another agent may come further: this one cannot be asked, or has no way to the host. */
const WAY: ReadonlySet<AdditionStep> = new Set(["AGENT", "RESOLVE", "CONNECT"]);

/**
 * Has a host contacted by the first of the agents that gets through to it. Nothing is kept of it. Throws what the last agent said, with
 * details.step: FAILED_PRECONDITION or UNAVAILABLE with a reason of BridgeAgentService.ProbeHost.
 */
export async function probeHost(
  ctx: Pick<RequestContext, "requestId" | "deadlineAt" | "signal">,
  commands: AgentCommands,
  candidates: readonly BridgeCandidate[],
  access: HostAccess,
): Promise<{ agent: BridgeCandidate; found: FoundHost }> {
  let failure: FleetError | null = null;
  for (const agent of candidates.slice(0, MAX_AGENTS)) {
    try {
      return { agent, found: await probeBy(ctx, commands, agent.node, access) };
    } catch (error) {
      ctx.signal.throwIfAborted();
      const failed = FleetError.from(error);
      // An agent that cannot be asked says less about the host than one that tried.
      if (failure === null || failed.details["step"] !== "AGENT") failure = failed;
      if (!WAY.has(failed.details["step"] as AdditionStep)) break;
    }
  }
  throw failure ?? noBridgingAgent();
}

/** No agent can be given the host now. */
export function noBridgingAgent(): FleetError {
  return new FleetError(
    "UNAVAILABLE",
    "No agent that is READY can stand for other hosts: one must run, and its agent.bridging must not be off.",
    { reason: "NoBridgingAgent", details: { step: "AGENT" } },
  );
}

/** What the host is known by from now on. Throws FAILED_PRECONDITION (NoHostKey) where it cannot be known again. */
export function pinnedKeys({ uri, hostKeys }: Pick<BridgedHost, "uri" | "hostKeys">, { hostKey }: FoundHost): string[] {
  if (hostKeys.length > 0 || uri.startsWith("qemu+unix:")) return hostKeys;
  if (hostKey !== "") return [hostKey];
  throw new FleetError("FAILED_PRECONDITION", "The host showed no key by which it can be known again.", {
    reason: "NoHostKey",
    details: { step: "HOST_KEY" },
  });
}

async function probeBy(
  { requestId, deadlineAt, signal }: Pick<RequestContext, "requestId" | "deadlineAt" | "signal">,
  commands: AgentCommands,
  agent: NodeRecord,
  access: HostAccess,
): Promise<FoundHost> {
  let step: AdditionStep = "AGENT";
  try {
    const progress = commands.stream({ requestId, deadlineAt, signal }, agent.nodeId, BridgeAgentServiceDefinition, (client, options) =>
      client.probeHost({ access }, { ...options, deadlineMs: PROBE_MS }),
    );
    for await (const { step: told, host } of progress) {
      step = ADDITION_STEPS.find((known) => known === told) ?? step;
      if (host) return complete(host);
    }
  } catch (error) {
    signal.throwIfAborted();
    throw probeFailure(FleetError.from(error), step, agent);
  }
  throw probeFailure(new FleetError("UNAVAILABLE", "The agent ended without an answer.", { reason: "AgentUnreachable" }), step, agent);
}

/** What every host must tell before it can be a node. */
function complete(host: ProbedHost): FoundHost {
  const { hardware, capacity } = host;
  if (hardware === undefined || capacity === undefined) {
    throw new FleetError("FAILED_PRECONDITION", "The host's hardware could not be read.", {
      reason: "NoHardware",
      details: { step: "HARDWARE" },
    });
  }
  return { ...host, capacity };
}

/**
 * What the agent said, with the step; the agent's own word for it counts before what it told on the way. Codes that speak of the caller's own
 * rights would be misunderstood: here they speak of the host's.
 */
function probeFailure(error: FleetError, told: AdditionStep, agent: NodeRecord): FleetError {
  const { code, message, reason, details } = error;
  const step = ADDITION_STEPS.find((known) => known === details["step"]) ?? told;
  const shown = code === "UNAUTHENTICATED" || code === "FORBIDDEN" || code === "NOT_FOUND" ? "FAILED_PRECONDITION" : code;
  if (code === "UNIMPLEMENTED") {
    return new FleetError("UNAVAILABLE", "The agent that was asked is too old to reach other hosts.", {
      reason: "AgentTooOld",
      details: { step: "AGENT", agentNodeId: agent.nodeId },
    });
  }
  return new FleetError(shown, message, { reason, details: { ...details, step, agentNodeId: agent.nodeId }, cause: error });
}
