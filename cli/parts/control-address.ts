import { readFile } from "node:fs/promises";
import os from "node:os";
import { join } from "node:path";
import type { Config } from "../../platform/config/settings.ts";
import { formatHostPort } from "../../platform/grpc/listen-address.ts";
import { replaceFile } from "../../platform/tls/certificate-files.ts";

/** Of addresses that stand for all of a machine's: where the machine reaches itself. */
const LOOPBACK_OF: Record<string, string> = { "0.0.0.0": "127.0.0.1", "::": "::1" };
const FILE = "control-address";

/**
 * The address of the control plane that agents are told: the first that is configured, else the one it listens on.
 * `port`: the one that was opened, where the configured one is 0.
 */
export function advertisedControlAddress(config: Config, port: number = config["control.port"]): string {
  const [configured] = config["control.advertise"];
  if (configured !== undefined) return configured;
  const host = config["control.host"];
  return formatHostPort({ host: host in LOOPBACK_OF ? os.hostname() : host, port });
}

/** Where this machine itself reaches the control plane that runs on it. */
export function localControlAddress(config: Config, port: number): string {
  const host = config["control.host"];
  return formatHostPort({ host: LOOPBACK_OF[host] ?? host, port });
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
