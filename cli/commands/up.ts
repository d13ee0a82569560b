import { Command } from "commander";
import { runProcess } from "../process/run-process.ts";
import { addSettings, configOf } from "../setting-options.ts";

export function upCommand(): Command {
  const command = new Command("up")
    .description(
      "Run everything in one process: gateway, subgraphs, and an agent that puts this machine into the graph. Needs nothing else.",
    )
    .action(async () => {
      const loaded = configOf(command, "up");
      const { startUp } = await import("../up/start-up.ts");
      await runProcess("fleetgraph", loaded, startUp);
    });
  return addSettings(command, "up");
}
