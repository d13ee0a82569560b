import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ConfigError, loadConfig } from "../../../platform/config/load-config.ts";
import type { Command } from "../../../platform/config/settings/setting.ts";
import type { Config } from "../../../platform/config/settings.ts";

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "fleetgraph-config-"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

interface Given {
  file?: string;
  environment?: Record<string, string>;
  flags?: Record<string, unknown>;
  subgraph?: string;
}

function load(given: Given = {}, command: Command = "up") {
  let file: string | null = null;
  if (given.file !== undefined) {
    file = join(dir, "fleetgraph.yaml");
    writeFileSync(file, given.file);
  }
  return loadConfig(command, { file, environment: given.environment ?? {}, flags: given.flags ?? {}, subgraph: given.subgraph ?? null });
}

function mistakes(given: Given, command: Command = "up"): readonly string[] {
  try {
    load(given, command);
  } catch (error) {
    if (error instanceof ConfigError) return error.mistakes.map((line) => line.replaceAll(dir, "DIR"));
    throw error;
  }
  return [];
}

describe("configuration", () => {
  it("has the promised defaults", () => {
    const config: Config = load().config;
    expect(config["gateway.port"]).toBe(4000);
    expect(config["grpc.port"]).toBe(50051);
    expect(config["agent.port"]).toBe(50052);
    expect(config["control.port"]).toBe(50053);
    expect(config.dataDir).toBe("./data");
    expect(config["lease.ttl"]).toBe(30);
    expect(config["lease.heartbeatInterval"]).toBe(10);
    expect(config["gateway.host"]).toBe("127.0.0.1");
    expect(config["agent.joinToken"]).toBeNull();
  });

  it("takes a flag before the environment, that before the file, that before the default", () => {
    const file = "gateway:\n  port: 4001\ngrpc:\n  port: 4002\nagent.port: 4003\n";
    const { config } = load({
      file,
      environment: { FLEETGRAPH_GATEWAY_PORT: "5001", FLEETGRAPH_GRPC_PORT: "5002" },
      flags: { "gateway.port": "6001" },
    });
    expect([config["gateway.port"], config["grpc.port"], config["agent.port"], config["control.port"]]).toEqual([6001, 5002, 4003, 50053]);
  });

  it("derives defaults from the data directory and the subgraph's name", () => {
    const { config } = load({ flags: { dataDir: "/srv/fleet" }, subgraph: "nodes" }, "subgraph");
    expect(config["agent.stateDir"]).toBe("/srv/fleet/agent");
    expect(config["database.clusters"]).toBe("sqlite:/srv/fleet/clusters.db");
    expect(config["subgraph.port"]).toBe(4002);
  });

  it("reads durations, sizes, lists and maps in their usual forms", () => {
    const file =
      "lease: {ttl: 1m}\nevents: {retentionAge: 7d}\nplacement: {reserveMemory: 2GiB}\ngateway: {origins: ['https://a.example']}\n";
    const environment = {
      FLEETGRAPH_CONTROL_PEERS: "nodes=10.0.0.2:50054",
      FLEETGRAPH_CONTROL_ADVERTISE: "10.0.0.1:50053, [fd00::1]:50053",
    };
    const { config } = load({ file, environment });
    expect(config["lease.ttl"]).toBe(60);
    expect(config["events.retentionAge"]).toBe(7 * 86_400);
    expect(config["placement.reserveMemory"]).toBe(2 * 2 ** 30);
    expect(config["gateway.origins"]).toEqual(["https://a.example"]);
    expect(config["control.peers"]).toEqual({ nodes: "10.0.0.2:50054" });
    expect(config["control.advertise"]).toEqual(["10.0.0.1:50053", "[fd00::1]:50053"]);
  });

  it("takes secrets from files of their own, and never both", () => {
    const secret = join(dir, "token");
    writeFileSync(secret, "fgj_abc\n");
    expect(load({ environment: { FLEETGRAPH_AGENT_JOIN_TOKEN_FILE: secret } }, "agent").config["agent.joinToken"]).toBe("fgj_abc");
    expect(load({ file: `agent: {joinTokenFile: ${secret}}` }, "agent").config["agent.joinToken"]).toBe("fgj_abc");
    const both = { "agent.joinToken": "x", "agent.joinTokenFile": secret };
    expect(mistakes({ flags: both }, "agent")).toEqual(["--join and --join-file exclude each other."]);
    expect(mistakes({ flags: { "agent.joinTokenFile": join(dir, "none") } }, "agent")[0]).toMatch(/^--join-file: the file cannot be read/);
  });

  it("accepts the settings of other commands in a shared file", () => {
    expect(load({ file: "subgraph: {port: 9}\nagent: {hostname: a}\n" }, "gateway").config["subgraph.port"]).toBe(9);
  });

  it("reads an empty file and an empty variable as nothing", () => {
    expect(load({ file: "", environment: { FLEETGRAPH_GATEWAY_PORT: "" } }).config["gateway.port"]).toBe(4000);
  });
});

describe("mistakes in the configuration", () => {
  it("are all told at once, one line each, with where they stand", () => {
    const given = {
      file: "gateway: {port: seventy}\nlease: {ttl: 5 years}\nnats: {url: 'http://x'}\n",
      environment: { FLEETGRAPH_LOG_LEVEL: "loud" },
      flags: { "grpc.port": "70000" },
    };
    expect(mistakes(given)).toEqual([
      'FLEETGRAPH_LOG_LEVEL: "loud" is not one of trace, debug, info, warn, error, fatal, silent.',
      'gateway.port: "seventy" is not a port (0 to 65535).',
      '--grpc-port: "70000" is not a port (0 to 65535).',
      "nats.url: the value is not a URL that begins with nats:// or tls:// (or several, commas between).",
      'lease.ttl: "5 years" is not a duration from 2s to 1h (such as 30s, 10m, 12h, 7d; a bare number is seconds).',
    ]);
  });

  it("name an unknown key and what was probably meant", () => {
    expect(mistakes({ file: "gatway: {port: 1}\ngateway: {prot: 2}\nxyzzyplugh: 1\n" })).toEqual([
      "DIR/fleetgraph.yaml: gatway is not a setting; did you mean gateway?",
      "DIR/fleetgraph.yaml: gateway.prot is not a setting; did you mean gateway.port?",
      "DIR/fleetgraph.yaml: xyzzyplugh is not a setting.",
    ]);
  });

  it("never show a secret's value", () => {
    expect(mistakes({ flags: { "database.clusters": "mysql://root:hunter2@db" } }).join()).not.toContain("hunter2");
  });

  it("tell of a file that is missing, broken, or no map", () => {
    expect(() => loadConfig("up", { file: join(dir, "missing.yaml"), environment: {}, flags: {} })).toThrow(/missing.yaml cannot be read/);
    expect(mistakes({ file: "a: [1\nb: 2" })[0]).toMatch(/^DIR\/fleetgraph.yaml: .+\.$/);
    expect(mistakes({ file: "- a\n- b\n" })).toEqual(["DIR/fleetgraph.yaml: the file must be a map of settings."]);
    expect(mistakes({ file: "dataDir: a\ndataDir: b\n" })[0]).toMatch(/unique/i);
  });

  it("refuse plaintext gRPC beyond this machine", () => {
    expect(mistakes({ flags: { "grpc.host": "0.0.0.0" } })[0]).toContain("set grpc.tlsCert and grpc.tlsKey");
    expect(mistakes({ flags: { "grpc.host": "0.0.0.0", "grpc.tlsCert": "c.pem", "grpc.tlsKey": "k.pem" } })).toEqual([]);
    expect(mistakes({ flags: { "grpc.tlsCert": "c.pem" } })[0]).toContain("belong together");
  });

  it("refuse one port for two listeners, a lease that one lost heartbeat ends, and keys from a plain connection", () => {
    expect(mistakes({ flags: { "gateway.port": "5000", "grpc.port": "5000" } })).toEqual([
      "gateway.port and grpc.port are both 127.0.0.1:5000.",
    ]);
    expect(mistakes({ flags: { "gateway.port": "0", "grpc.port": "0" } })).toEqual([]);
    expect(mistakes({ file: "lease: {ttl: 15s}" })[0]).toContain("at least twice");
    expect(mistakes({ flags: { "auth.jwks": "http://id.example/keys" } })[0]).toContain("https");
    expect(mistakes({ flags: { "auth.issuer": "http://id.example" } })[0]).toContain("https");
  });

  it("are only warnings where an environment variable is unknown: others may have set it", () => {
    expect(load({ environment: { FLEETGRAPH_GATWAY_PORT: "1" } }).warnings).toEqual([
      "The environment variable FLEETGRAPH_GATWAY_PORT is not a setting; did you mean FLEETGRAPH_GATEWAY_PORT?",
    ]);
  });
});
