import { Command, Option } from "commander";
import { integerOption } from "../option-types.ts";
import { runProcess } from "../process/run-process.ts";
import { addSettings, configOf } from "../setting-options.ts";

interface SimulateOptions {
  nodes: number;
  prefix: string;
  concurrency: number;
}

export function simulateCommand(): Command {
  const command = new Command("simulate")
    .description(
      "Run agents of hosts that are not there: real enrolment, certificates, connections and heartbeats, marked as simulated in the graph. Without --join they join the fleet whose files are in --data; of another fleet they are by its join token, made with --uses for so many hosts and given at each start. Their identities are kept in DATA/simulated.",
    )
    .addOption(new Option("--nodes <number>", "How many").argParser(integerOption(1, 100_000)).makeOptionMandatory())
    .addOption(new Option("--prefix <name>", "Of their hostnames").default("sim"))
    .addOption(new Option("--concurrency <number>", "How many join at the same time").default(16).argParser(integerOption(1, 1000)))
    .action(async ({ nodes, prefix, concurrency }: SimulateOptions) => {
      const loaded = configOf(command, "simulate");
      const [{ startSimulation }, { openFleet }] = await Promise.all([import("../simulate/simulation.ts"), import("../simulate/fleet.ts")]);
      await runProcess("simulate", loaded, async ({ config, log, lifecycle }) => {
        const fleet = await openFleet(config, nodes, log, lifecycle.stopping);
        const simulation = await startSimulation({ nodes, prefix, concurrency, ...fleet, log, signal: lifecycle.stopping });
        lifecycle.onStop("simulated agents", () => simulation.ended);
      });
    });
  return addSettings(command, "simulate");
}
