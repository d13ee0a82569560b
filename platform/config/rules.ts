import { isLoopback } from "../grpc/listen-address.ts";
import type { Command } from "./settings/setting.ts";
import type { Config } from "./settings.ts";

/** What must fit together once each value is right by itself: one sentence for each rule that is broken. */
export function brokenRules(command: Command, config: Config): string[] {
  const broken: string[] = [];
  const rule = (commands: readonly Command[], holds: boolean, message: string) => {
    if (commands.includes(command) && !holds) broken.push(message);
  };
  const withTls = config["grpc.tlsCert"] !== null && config["grpc.tlsKey"] !== null;
  rule(
    ["up", "subgraph"],
    (config["grpc.tlsCert"] === null) === (config["grpc.tlsKey"] === null),
    "grpc.tlsCert and grpc.tlsKey belong together: one of them is missing.",
  );
  rule(
    ["up", "subgraph"],
    withTls || isLoopback(config["grpc.host"]),
    `grpc.host ${config["grpc.host"]} is open to other machines, and gRPC carries tokens: set grpc.tlsCert and grpc.tlsKey, or listen on 127.0.0.1.`,
  );
  rule(
    ["up", "subgraph"],
    config["lease.ttl"] >= 2 * config["lease.heartbeatInterval"],
    `lease.ttl (${config["lease.ttl"]} s) must be at least twice lease.heartbeatInterval (${config["lease.heartbeatInterval"]} s), or one lost heartbeat ends a lease.`,
  );
  rule(
    ["up", "gateway", "subgraph"],
    config["auth.jwks"] === null || !/^http:/i.test(config["auth.jwks"]) || isLoopback(hostOf(config["auth.jwks"])),
    "auth.jwks must be a file or an https URL: keys that came over a plain connection could be anyone's.",
  );
  rule(
    ["up", "gateway", "subgraph"],
    config["auth.issuer"] === null || config["auth.issuer"].startsWith("https:") || isLoopback(hostOf(config["auth.issuer"])),
    "auth.issuer must be an https URL.",
  );
  for (const message of sharedPorts(command, config)) broken.push(message);
  return broken;
}

const PORTS: Partial<Record<Command, Array<"gateway" | "subgraph" | "grpc" | "control" | "agent">>> = {
  up: ["gateway", "grpc", "control", "agent"],
  subgraph: ["subgraph", "grpc", "control"],
};

/** Ports that one process would open twice. */
function sharedPorts(command: Command, config: Config): string[] {
  const opened = (PORTS[command] ?? []).filter((part) => part !== "agent" || config["agent.local"]);
  const first = new Map<string, string>();
  const clashes: string[] = [];
  for (const part of opened) {
    const port = config[`${part}.port`];
    const address = `${config[`${part}.host`]}:${port}`;
    const other = first.get(address);
    if (port !== 0 && other !== undefined) clashes.push(`${other} and ${part}.port are both ${address}.`);
    first.set(address, `${part}.port`);
  }
  return clashes;
}

function hostOf(url: string): string {
  return URL.canParse(url) ? new URL(url).hostname.replace(/^\[|\]$/g, "") : "";
}
