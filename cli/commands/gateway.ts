import { Command } from "commander";
import { runProcess } from "../process/run-process.ts";
import { addSettings, configOf } from "../setting-options.ts";

export function gatewayCommand(): Command {
  const command = new Command("gateway")
    .description("Run the gateway by itself: one graph over subgraphs that run as processes of their own.")
    .action(async () => {
      const loaded = configOf(command, "gateway");
      const [{ openAuthentication }, { startConfiguredGateway }] = await Promise.all([
        import("../process/authentication.ts"),
        import("../parts/gateway.ts"),
      ]);
      await runProcess("gateway", loaded, async (context) => {
        const { verifier } = await openAuthentication(context.config);
        const subgraphs = Object.fromEntries(Object.entries(context.config["gateway.subgraphs"]).map(([name, url]) => [name, { url }]));
        const { url } = await startConfiguredGateway(context, { verifier, codes: null, subgraphs });
        context.log.info({ url, subgraphs: context.config["gateway.subgraphs"] }, "the gateway serves");
      });
    });
  return addSettings(command, "gateway");
}
