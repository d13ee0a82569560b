import { Command } from "commander";
import { addSettings, configOf } from "../setting-options.ts";

export function secretsCommand(): Command {
  return new Command("secrets")
    .description("Work on the keys of what is kept sealed in the databases: kubeconfigs, accounts of hosts and of registries.")
    .addCommand(rotateCommand());
}

function rotateCommand(): Command {
  const command = new Command("rotate")
    .description(
      "Add a key and seal everything with it, also while servers run. They open what it sealed at once. The former keys stay in the file: remove them once every server was started again and this command, with --resume, has nothing left to do.",
    )
    .option("--resume", "Add no key, only seal with the newest one what is not yet: after a rotation that was cut off")
    .action(async ({ resume }: { resume?: true }) => {
      const { config } = configOf(command, "secrets");
      const { rotateSecrets } = await import("../secrets/rotate.ts");
      for (const line of await rotateSecrets(config, { resume: resume === true })) process.stdout.write(`${line}\n`);
    });
  return addSettings(command, "secrets");
}
