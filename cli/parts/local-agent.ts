import { type AgentOptions, type RunningAgent, startAgent } from "../../agent/main.ts";
import type { ProcessContext } from "../process/run-process.ts";
import { listening } from "../process/start-error.ts";

/** Starts the agent of this machine as configured, and stops it with the process. */
export async function startLocalAgent(
  { config, log, metrics, lifecycle }: ProcessContext,
  join: Pick<AgentOptions, "controlPlane" | "joinToken" | "signal">,
): Promise<RunningAgent> {
  const [host, port] = [config["agent.host"], config["agent.port"]];
  const agent = await listening({ host, port, hostKey: "agent.host", portKey: "agent.port" }, () =>
    startAgent({
      ...join,
      stateDir: config["agent.stateDir"],
      listen: { host, port },
      hostname: config["agent.hostname"] ?? undefined,
      address: config["agent.address"] ?? undefined,
      log: log.child({ part: "agent" }),
      metrics,
    }),
  );
  lifecycle.onStop("agent", () => agent.stop());
  return agent;
}
