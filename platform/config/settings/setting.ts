import type { Kind } from "../kinds.ts";

/** The commands that read settings. */
export const COMMANDS = ["up", "gateway", "subgraph", "agent", "token", "simulate", "backup", "restore", "secrets"] as const;
export type Command = (typeof COMMANDS)[number];

/** What a default may depend on. */
export interface DefaultContext {
  dataDir: string;
  /** The NAME of `fleetgraph subgraph NAME`. */
  subgraph: string | null;
}

export interface Setting<T> {
  kind: Kind<T>;
  /** One sentence or two, with units. */
  description: string;
  /** The commands that use it. Others accept it in the file, so that one file can serve all. */
  commands: readonly Command[];
  /** Without it, the setting has no flag. */
  flag?: `--${string}`;
  default?: T | ((context: DefaultContext) => T);
  /** How a default that depends on something is shown. */
  defaultText?: string;
  /** The value may also come from a file, named by the same key with `File` behind it; it is never shown. */
  secret?: boolean;
}

export const SERVERS = ["up", "gateway", "subgraph"] as const;
export const PROCESSES = ["up", "gateway", "subgraph", "agent"] as const;
export const CLUSTERS = ["up", "subgraph"] as const;
export const AGENTS = ["up", "agent"] as const;

/** Keeps the type of each setting's value; `T | null` where there is no default. */
export function withDefault<T>(
  setting: Omit<Setting<T>, "default"> & { default: NoInfer<T> | ((context: DefaultContext) => NoInfer<T>) },
): Setting<T> {
  return setting as Setting<T>;
}
export function optional<T>(setting: Omit<Setting<T>, "default">): Setting<T | null> {
  return setting as Setting<T | null>;
}
