import { AGENT_SETTINGS } from "./settings/agent.ts";
import { AUTH_SETTINGS } from "./settings/auth.ts";
import { COMMON_SETTINGS } from "./settings/common.ts";
import { CONTROL_PLANE_SETTINGS } from "./settings/control-plane.ts";
import { SERVING_SETTINGS } from "./settings/serving.ts";
import type { Setting } from "./settings/setting.ts";

/** The one table of settings. Its keys are those of the file. */
export const SETTINGS = { ...COMMON_SETTINGS, ...SERVING_SETTINGS, ...AUTH_SETTINGS, ...CONTROL_PLANE_SETTINGS, ...AGENT_SETTINGS };

export type SettingKey = keyof typeof SETTINGS;

/** What a command gets: every setting under its key, with its default where nothing else was said. */
export type Config = { readonly [K in SettingKey]: (typeof SETTINGS)[K] extends Setting<infer T> ? T : never };

/** The environment variable of a key: gateway.publicUrl → FLEETGRAPH_GATEWAY_PUBLIC_URL. */
export function environmentName(key: string): string {
  return `FLEETGRAPH_${key
    .replaceAll(".", "_")
    .replace(/([a-z\d])([A-Z])/g, "$1_$2")
    .toUpperCase()}`;
}

/** The table as entries, with the value types forgotten. */
export function settingEntries(): Array<[SettingKey, Setting<unknown>]> {
  return Object.entries(SETTINGS) as Array<[SettingKey, Setting<unknown>]>;
}
