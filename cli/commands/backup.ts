import { Command } from "commander";
import { addSettings, configOf } from "../setting-options.ts";

export function backupCommand(): Command {
  const command = new Command("backup")
    .description(
      "Write databases, certificate authority and keys to a folder, while everything goes on. It holds private keys: keep it safe.",
    )
    .argument("<folder>", "a new folder for the backup")
    .action(async (folder: string) => {
      const { config } = configOf(command, "backup");
      const { backUp } = await import("../backup/backup.ts");
      for (const line of await backUp(config, folder)) process.stdout.write(`${line}\n`);
    });
  return addSettings(command, "backup");
}
