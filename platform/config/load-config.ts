import { readFileSync } from "node:fs";
import { readConfigFile } from "./config-file.ts";
import { brokenRules } from "./rules.ts";
import type { Command, DefaultContext, Setting } from "./settings/setting.ts";
import { type Config, environmentName, settingEntries } from "./settings.ts";
import { nearest } from "./suggest.ts";

export interface ConfigSources {
  /** The file that was named; null takes ./fleetgraph.yaml where it is there. */
  file: string | null;
  /** The process's own unless given. */
  environment?: Record<string, string | undefined>;
  /** By setting key (for a secret's file, the key with `File` behind it), as the command line has them. */
  flags: Record<string, unknown>;
  /** The NAME of `fleetgraph subgraph NAME`. */
  subgraph?: string | null;
}

export interface LoadedConfig {
  config: Config;
  /** What is odd but harms nothing, such as an unknown FLEETGRAPH_ variable. */
  warnings: string[];
}

/** All the mistakes of a configuration at once, each in one line. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly mistakes: readonly string[];

  constructor(mistakes: readonly string[]) {
    super(mistakes.join("\n"));
    this.mistakes = mistakes;
  }
}

/** A value as it was written, and where. */
interface Written {
  value: unknown;
  origin: string;
}

/** Flags win over the environment, that over the file, that over the defaults. Throws ConfigError. */
export function loadConfig(command: Command, sources: ConfigSources): LoadedConfig {
  const mistakes: string[] = [];
  const environment = sources.environment ?? process.env;
  const fileValues = readConfigFile(sources.file ?? (environment.FLEETGRAPH_CONFIG || null), mistakes);
  const levels = (key: string, flag: string | undefined): Written[] => {
    const variable = environmentName(key);
    const fromEnvironment = environment[variable];
    return [
      { value: sources.flags[key], origin: flag ?? key },
      { value: fromEnvironment === "" ? undefined : fromEnvironment, origin: variable },
      { value: fileValues.get(key) ?? undefined, origin: key },
    ];
  };

  const values: Record<string, unknown> = {};
  const context: DefaultContext = { dataDir: "", subgraph: sources.subgraph ?? null };
  for (const [key, setting] of settingEntries()) {
    const written = strongest(levels(key, setting.flag), setting.secret === true ? levels(`${key}File`, fileFlag(setting)) : [], mistakes);
    values[key] = written === null ? defaultOf(setting, context) : read(written, setting, mistakes);
    if (key === "dataDir") context.dataDir = String(values[key]);
  }
  const config = values as unknown as Config;
  if (mistakes.length === 0) mistakes.push(...brokenRules(command, config));
  if (mistakes.length > 0) throw new ConfigError(mistakes);
  return { config, warnings: unknownVariables(environment) };
}

/** The flag that names a file with a secret: --join → --join-file. */
export function fileFlag(setting: Setting<unknown>): string | undefined {
  return setting.flag === undefined ? undefined : `${setting.flag}-file`;
}

/** The first level at which the value stands, itself or as a file to read it from. */
function strongest(plain: Written[], files: Written[], mistakes: string[]): Written | null {
  for (const [level, written] of plain.entries()) {
    const file = files[level];
    if (written.value !== undefined && file?.value !== undefined) mistakes.push(`${written.origin} and ${file.origin} exclude each other.`);
    if (written.value !== undefined) return written;
    if (file?.value === undefined) continue;
    try {
      return { value: readFileSync(String(file.value), "utf8").trim(), origin: file.origin };
    } catch (error) {
      mistakes.push(`${file.origin}: the file cannot be read: ${(error as Error).message}.`);
      return { value: null, origin: file.origin };
    }
  }
  return null;
}

function read({ value, origin }: Written, setting: Setting<unknown>, mistakes: string[]): unknown {
  if (value === null) return null;
  const result = setting.kind.type.safeParse(value);
  if (result.success) return result.data;
  const shown = setting.secret === true ? "the value" : JSON.stringify(value);
  mistakes.push(`${origin}: ${shown} is not ${setting.kind.form}.`);
  return null;
}

function defaultOf(setting: Setting<unknown>, context: DefaultContext): unknown {
  return typeof setting.default === "function"
    ? (setting.default as (context: DefaultContext) => unknown)(context)
    : (setting.default ?? null);
}

function unknownVariables(environment: Record<string, string | undefined>): string[] {
  const known = new Set([
    "FLEETGRAPH_CONFIG",
    ...settingEntries().flatMap(([key]) => [environmentName(key), environmentName(`${key}File`)]),
  ]);
  const unknown = Object.keys(environment).filter((name) => name.startsWith("FLEETGRAPH_") && !known.has(name));
  return unknown.map((name) => {
    const meant = nearest(name, known);
    return `The environment variable ${name} is not a setting${meant === null ? "." : `; did you mean ${meant}?`}`;
  });
}
