import { formatDuration } from "./kinds.ts";
import { fileFlag } from "./load-config.ts";
import type { Setting } from "./settings/setting.ts";
import { environmentName, settingEntries } from "./settings.ts";

/** Shown where a setting has none. */
export const NO_DEFAULT = "–";

const INTRODUCTION = `<!-- Generated from platform/config/settings by \`npm run generate\`. Do not edit. -->
# Configuration

Every setting can be given as a flag, as an environment variable, or in a YAML file; a flag wins over the environment, the environment over the
file, the file over the default. The file is the one that \`--config\` or \`FLEETGRAPH_CONFIG\` names, else \`fleetgraph.yaml\` in the working
directory. One file can serve all commands: each takes from it what it uses. Paths are relative to the working directory.

Settings marked **secret** can be kept in a file of their own: the same key with \`File\` behind it (\`agent.joinTokenFile\`), the variable with
\`_FILE\`, the flag with \`-file\`. All mistakes are reported at start, at once, and nothing is started.

\`\`\`yaml
gateway:
  port: 4100
  origins: [https://fleet.example]
database:
  clustersFile: /run/secrets/clusters-database-url
lease:
  ttl: 45s
\`\`\`
`;

const SECTIONS: Record<string, string> = {
  "": "General",
  cluster: "General",
  log: "Log",
  gateway: "Gateway",
  subgraph: "A subgraph as a process of its own",
  grpc: "gRPC for users",
  control: "Control plane for agents",
  compute: "The compute subgraph",
  tls: "Certificates",
  database: "Databases",
  nats: "Databases",
  lease: "Leases",
  placement: "Placement",
  events: "Events",
  auth: "Authentication",
  agent: "Agent",
};

/** The reference page of all settings, in Markdown. */
export function renderReference(): string {
  const sections = new Map<string, string[]>();
  for (const [key, setting] of settingEntries()) {
    const title = SECTIONS[key.includes(".") ? (key.split(".")[0] as string) : ""] ?? "Other";
    const rows = sections.get(title) ?? [];
    rows.push(row(key, setting));
    sections.set(title, rows);
  }
  const tables = [...sections].map(
    ([title, rows]) => `## ${title}\n\n| key · flag · variable | default | meaning |\n| --- | --- | --- |\n${rows.join("\n")}\n`,
  );
  return `${INTRODUCTION}\n${tables.join("\n")}`;
}

function row(key: string, setting: Setting<unknown>): string {
  const names = [`**${key}**`, ...(setting.flag ? [`\`${flagForm(setting)}\``] : []), `\`${environmentName(key)}\``];
  const meaning = [
    ...(setting.secret === true ? ["**Secret**."] : []),
    setting.description,
    `${setting.kind.form[0]?.toUpperCase()}${setting.kind.form.slice(1)}.`,
    `Used by ${setting.commands.map((command) => `\`${command}\``).join(", ")}.`,
    ...(setting.secret === true && setting.flag ? [`Also \`${fileFlag(setting)}\`.`] : []),
  ];
  return `| ${names.join("<br>")} | ${shownDefault(setting)} | ${meaning.join(" ").replaceAll("|", "\\|")} |`;
}

/** A flag with what follows it, as the reference shows it. */
function flagForm(setting: Setting<unknown>): string {
  const { flag, kind } = setting;
  return kind.placeholder === "" ? switchFlag(setting) : `${flag} <${kind.placeholder}>`.replaceAll("|", "\\|");
}

/** The flag of a switch: it turns off what is on by default, and on what is off. */
export function switchFlag({ flag, default: usual }: Setting<unknown>): string {
  return usual === true ? `--no-${flag?.slice(2)}` : `${flag}`;
}

/** The default as a person writes it; a dash where there is none. */
export function shownDefault(setting: Setting<unknown>): string {
  if (setting.defaultText !== undefined) return setting.defaultText;
  const value = setting.default;
  if (value === undefined || typeof value === "function") return NO_DEFAULT;
  if (typeof value === "number" && setting.kind.placeholder === "duration") return formatDuration(value);
  if (Array.isArray(value)) return value.length === 0 ? "none" : value.join(",");
  if (typeof value !== "object" || value === null) return String(value);
  const pairs = Object.entries(value as Record<string, string>);
  return pairs.length === 0 ? "none" : pairs.map(([name, item]) => `${name}=${item}`).join(", ");
}
