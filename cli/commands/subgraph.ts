import { Argument, Command } from "commander";
import { runProcess } from "../process/run-process.ts";
import { addSettings, configOf } from "../setting-options.ts";
import { SUBGRAPHS, type SubgraphName } from "../subgraphs.ts";

export function subgraphCommand(): Command {
  const command = new Command("subgraph")
    .description("Run one subgraph by itself: GraphQL for the gateway, gRPC for users and for agents.")
    .addArgument(new Argument("<name>", "which one").choices(SUBGRAPHS))
    .action(async (name: SubgraphName) => {
      const loaded = configOf(command, "subgraph", name);
      const { startSubgraph } = await import("../parts/subgraph-process.ts");
      await runProcess(name, loaded, (context) => startSubgraph(name, context));
    });
  return addSettings(command, "subgraph");
}
