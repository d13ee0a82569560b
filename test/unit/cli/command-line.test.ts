import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decodeJwt } from "jose";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { run } from "../../../cli/main.ts";
import { LocalIssuer } from "../../../platform/auth/local-issuer.ts";

const COMMANDS = ["up", "gateway", "subgraph", "agent", "token", "schema", "simulate", "backup", "restore", "secrets", "cluster"];

let dir: string;
let out: string;
let err: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "fleetgraph-cli-"));
  out = "";
  err = "";
  vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    out += String(text);
    return true;
  });
  vi.spyOn(process.stderr, "write").mockImplementation((text) => {
    err += String(text);
    return true;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(dir, { recursive: true, force: true });
});

describe("the command line", () => {
  it("shows every command, and the version", async () => {
    expect(await run(["--help"])).toBe(0);
    for (const command of COMMANDS) expect(out).toMatch(new RegExp(`^  ${command}\\b`, "m"));
    expect(await run(["--version"])).toBe(0);
    expect(out).toMatch(/^\d+\.\d+\.\d+$/m);
  });

  it.each(COMMANDS)("explains %s, with a sentence and its options", async (command) => {
    expect(await run([command, "--help"])).toBe(0);
    expect(out).toContain(`Usage: fleetgraph ${command}`);
    expect(out).toContain("-h, --help");
    expect(err).toBe("");
  });

  it("has switches that turn off what is on, and on what is off", async () => {
    await run(["agent", "--help"]);
    const text = out.replace(/\s+/g, " ");
    expect(text).toMatch(/ --no-adoption Do not take over /);
    expect(text).toMatch(/ --shell Let admins /);
    expect(text).not.toMatch(/--no-shell| --adoption /);
  });

  it("has the flags that are promised, with their defaults", async () => {
    await run(["up", "--help"]);
    const text = out.replace(/\s+/g, " ");
    for (const [flag, value] of [
      ["--port <port>", "4000"],
      ["--grpc-port <port>", "50051"],
      ["--agent-port <port>", "50052"],
      ["--control-port <port>", "50053"],
      ["--data <path>", "./data"],
    ]) {
      expect(text).toMatch(new RegExp(`${flag} [^<]*\\(default: ${value}`));
    }
  });

  it("refuses what it does not know with 2, a suggestion and where help is", async () => {
    expect(await run(["upp"])).toBe(2);
    expect(err).toContain("Did you mean up?");
    expect(await run(["up", "--prot", "1"])).toBe(2);
    expect(err).toContain("Did you mean --port?");
    expect(err).toContain("see `fleetgraph up --help`");
    expect(await run(["cluster", "manifest", "--namespace", "Not_One"])).toBe(2);
    expect(err).toContain("see `fleetgraph cluster manifest --help`");
    expect(await run(["subgraph", "weather"])).toBe(2);
    expect(err).toContain("Allowed choices are clusters, nodes");
    expect(await run(["token", "--role", "root"])).toBe(2);
    expect(await run(["token", "--ttl", "soon"])).toBe(2);
    expect(err).toContain("It is not a duration");
    expect(await run(["simulate"])).toBe(2);
    expect(await run([])).toBe(2);
    expect(out).toBe("");
  });

  it("tells all mistakes of a configuration at once, and starts nothing", async () => {
    expect(await run(["up", "--port", "http", "--grpc-host", "nowhere!", "--data", dir])).toBe(2);
    expect(err).toContain("the configuration has 2 mistakes:");
    expect(err).toContain('--port: "http" is not a port (0 to 65535).');
    expect(err).toContain('--grpc-host: "nowhere!" is not a host name or an IP address.');
    expect(err).not.toContain("    at ");
  });
});

describe("fleetgraph token", () => {
  it("prints just a token that the local issuer's verifier takes", async () => {
    expect(await run(["token", "--role", "admin", "--data", dir])).toBe(0);
    expect(out).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+\n$/);
    expect(err).toBe("");
    const issuer = await LocalIssuer.open(join(dir, "keys"));
    await expect(issuer.verifier().verify(out.trim())).resolves.toMatchObject({ role: "admin", subject: "cli" });
  });

  it("is for a viewer and a day unless told otherwise", async () => {
    await run(["token", "--data", dir]);
    const claims = decodeJwt(out.trim());
    expect([claims.role, Number(claims.exp) - Number(claims.iat)]).toEqual(["viewer", 86_400]);
    out = "";
    await run(["token", "--data", dir, "--subject", "ci", "--ttl", "10m", "--role", "operator"]);
    const chosen = decodeJwt(out.trim());
    expect([chosen.sub, chosen.role, Number(chosen.exp) - Number(chosen.iat)]).toEqual(["ci", "operator", 600]);
  });

  it("writes credentials for a subgraph that runs elsewhere", async () => {
    expect(await run(["token", "--control", "nodes", "--out", join(dir, "nodes"), "--data", dir])).toBe(0);
    expect(out.trim()).toBe(join(dir, "nodes"));
  });

  it("does not take options that belong to different kinds of tokens", async () => {
    expect(await run(["token", "--join", "--role", "admin", "--data", dir])).toBe(2);
    expect(await run(["token", "--join", "--control", "nodes", "--data", dir])).toBe(2);
  });
});
