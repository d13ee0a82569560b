import { type Command, Option } from "commander";
import { fileFlag, type LoadedConfig, loadConfig } from "../platform/config/load-config.ts";
import { NO_DEFAULT, shownDefault, switchFlag } from "../platform/config/reference.ts";
import type { Command as CommandName, Setting } from "../platform/config/settings/setting.ts";
import { settingEntries } from "../platform/config/settings.ts";

/** Which setting an option of a command line stands for. */
const keys = new WeakMap<Option, string>();

/** Adds `--config` and a flag for each setting that the command uses. */
export function addSettings(command: Command, name: CommandName): Command {
  command.addOption(new Option("--config <file>", "Settings in YAML (default: fleetgraph.yaml, where it is there)"));
  for (const [key, setting] of settingEntries()) {
    if (setting.flag === undefined || !setting.commands.includes(name)) continue;
    for (const [optionKey, option] of optionsOf(key, setting)) {
      keys.set(option, optionKey);
      command.addOption(option);
    }
  }
  return command;
}

/** The configuration of a command from its flags, the environment and the file. Throws ConfigError. */
export function configOf(command: Command, name: CommandName, subgraph: string | null = null): LoadedConfig {
  const flags: Record<string, unknown> = {};
  for (const option of command.options) {
    const key = keys.get(option);
    const source = command.getOptionValueSource(option.attributeName());
    if (key !== undefined && source === "cli") flags[key] = command.getOptionValue(option.attributeName());
  }
  const file = command.getOptionValue("config") as string | undefined;
  return loadConfig(name, { file: file ?? null, flags, subgraph });
}

function optionsOf(key: string, setting: Setting<unknown>): Array<[string, Option]> {
  const sentence = setting.description.replace(/\.$/, "");
  if (setting.kind.placeholder === "") {
    // Their sentences are imperatives.
    const off = `Do not ${sentence[0]?.toLowerCase()}${sentence.slice(1)}`;
    return [[key, new Option(switchFlag(setting), setting.default === true ? off : sentence)]];
  }
  const usual = shownDefault(setting);
  const described = usual === NO_DEFAULT ? sentence : `${sentence} (default: ${usual})`;
  const options: Array<[string, Option]> = [[key, new Option(`${setting.flag} <${setting.kind.placeholder}>`, described)]];
  if (setting.secret === true)
    options.push([`${key}File`, new Option(`${fileFlag(setting)} <path>`, `A file that holds what ${setting.flag} takes`)]);
  return options;
}
