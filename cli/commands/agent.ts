import { Command } from "commander";
import { preferSmallHeap } from "../../platform/small-heap.ts";
import { runProcess } from "../process/run-process.ts";
import { addSettings, configOf } from "../setting-options.ts";
import { agentCaptureCommand } from "./agent-capture.ts";

export function agentCommand(): Command {
  const command = new Command("agent")
    .description("Run the agent that puts this host into the graph. Its first start needs a join token (`fleetgraph token --join`).")
    .action(async () => {
      preferSmallHeap();
      const loaded = configOf(command, "agent");
      const { startLocalAgent } = await import("../parts/local-agent.ts");
      await runProcess("agent", loaded, async (context) => {
        const { config, log, lifecycle } = context;
        const agent = await startLocalAgent(context, {
          controlPlane: config["agent.controlPlane"] ?? undefined,
          joinToken: config["agent.joinToken"] ?? undefined,
          signal: lifecycle.stopping,
        });
        log.info({ agentId: agent.agentId, nodeIds: agent.nodeIds, port: agent.port }, "the agent is in the graph");
      });
    });
  return addSettings(command.addCommand(agentCaptureCommand()), "agent");
}
