import { Command } from "commander";
import { addSettings, configOf } from "../setting-options.ts";

export function restoreCommand(): Command {
  const command = new Command("restore")
    .description("Put a backup in place. Stop every process that works on the data first.")
    .argument("<folder>", "a folder that `fleetgraph backup` wrote")
    .option("--force", "Replace what is there", false)
    .action(async (folder: string, options: { force: boolean }) => {
      const { config } = configOf(command, "restore");
      const { restore } = await import("../backup/restore.ts");
      for (const line of await restore(config, folder, options.force)) process.stdout.write(`${line}\n`);
    });
  return addSettings(command, "restore");
}
