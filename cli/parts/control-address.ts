import { readFile } from "node:fs/promises";
import os from "node:os";
import { join } from "node:path";
import type { Config } from "../../platform/config/settings.ts";
import { formatHostPort } from "../../platform/grpc/listen-address.ts";
import { replaceFile } from "../../platform/tls/certificate-files.ts";

const ANY_ADDRESS = ["0.0.0.0", "::"];
const FILE = "control-address";

/**
 * The address of the control plane that agents are told: the first that is configured, else the one it listens on.
 * `port`: the one that was opened, where the configured one is 0.
 */
export function advertisedControlAddress(config: Config, port: number = config["control.port"]): string {
  const [configured] = config["control.advertise"];
  if (configured !== undefined) return configured;
  const host = config["control.host"];
  return formatHostPort({ host: ANY_ADDRESS.includes(host) ? os.hostname() : host, port });
}

/** Kept beside the data, so that join tokens name the address that the running control plane has, whatever its flags were. */
export async function saveControlAddress(config: Config, address: string): Promise<void> {
  await replaceFile(join(config.dataDir, FILE), `${address}\n`, 0o644);
}

/** For a join token: what is configured for agents, else what the control plane last ran on, else the default. */
export async function knownControlAddress(config: Config): Promise<string> {
  if (config["control.advertise"].length > 0) return advertisedControlAddress(config);
  const saved = await readFile(join(config.dataDir, FILE), "utf8").catch(() => "");
  return saved.trim() || advertisedControlAddress(config);
}
