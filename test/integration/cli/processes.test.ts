import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { FLEETGRAPH } from "../../support/built-program.ts";

/** A machine under load starts slowly; nothing here is about speed. */
const TIMEOUT_MS = 60_000;
/** The agent of a process, once the control plane knows it; how soon is a matter of the machine, and so is what is printed about it. */
const REGISTERED = /"nodeId":"(node-\w+)".*"msg":"registered"/;
const ANY_PORTS = ["--port", "0", "--grpc-port", "0", "--control-port", "0", "--agent-port", "0"];

let dir: string;
let running: Run[];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "fleetgraph-up-"));
  running = [];
});
afterEach(async () => {
  for (const run of running) run.child.kill("SIGKILL");
  await Promise.all(running.map((run) => run.exit));
  rmSync(dir, { recursive: true, force: true });
});

interface Run {
  child: ReturnType<typeof spawn>;
  out: () => string;
  err: () => string;
  exit: Promise<number | NodeJS.Signals | null>;
  /** Resolves once standard output or error matches; rejects when the process ends before. */
  said: (pattern: RegExp) => Promise<RegExpExecArray>;
}

function start(args: string[], node = process.execPath): Run {
  const child = spawn(node, [FLEETGRAPH, ...args], { cwd: dir, stdio: ["ignore", "pipe", "pipe"] });
  let [out, err] = ["", ""];
  const waiting = new Set<() => void>();
  const wake = () => {
    for (const check of waiting) check();
  };
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
    wake();
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    err += text;
    wake();
  });
  const exit = new Promise<number | NodeJS.Signals | null>((resolve) => child.once("close", (code, signal) => resolve(code ?? signal)));
  const said = (pattern: RegExp) =>
    new Promise<RegExpExecArray>((resolve, reject) => {
      const check = () => {
        const match = pattern.exec(out) ?? pattern.exec(err);
        if (match === null) return;
        waiting.delete(check);
        resolve(match);
      };
      waiting.add(check);
      check();
      void exit.then((code) => reject(new Error(`ended with ${code} before it said ${pattern}\n${out}\n${err}`)));
    });
  const run = { child, out: () => out, err: () => err, exit, said };
  running.push(run);
  return run;
}

async function graphql(
  url: string,
  token: string,
  query: string,
): Promise<{ data?: never; errors?: Array<{ extensions: { code: string } }> }> {
  const headers = { "content-type": "application/json", ...(token && { authorization: `Bearer ${token}` }) };
  const response = await fetch(`${url}/graphql`, { method: "POST", headers, body: JSON.stringify({ query }) });
  return (await response.json()) as never;
}

async function listening(): Promise<{ port: number; server: Server }> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { port: (server.address() as { port: number }).port, server };
}

describe("fleetgraph up", () => {
  it(
    "serves the graph with this machine in it, signs in by its link once, and drains on SIGTERM",
    async () => {
      const up = start(["up", ...ANY_PORTS, "--data", join(dir, "data"), "--hostname", "here"]);
      const [, url, code] = await up.said(/Open {6}(http:\/\/[\d.:]+)\/#code=([\w-]+)/);
      expect(up.out()).toMatch(/This host (is node node-\w+|joins in the background)/);
      await up.said(REGISTERED);

      const exchange = () =>
        fetch(`${url}/auth/exchange`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ code }) });
      const { token } = (await (await exchange()).json()) as { token: string };
      expect((await exchange()).status).toBe(401);
      // Its hardware follows.
      const hardware = () => graphql(String(url), token, "{ nodes { nodes { hostname hardware { memory { totalBytes } } } } }");
      await vi.waitFor(
        async () =>
          expect(await hardware()).toMatchObject({
            data: { nodes: { nodes: [{ hostname: "here", hardware: { memory: { totalBytes: expect.any(Number) } } }] } },
          }),
        { timeout: TIMEOUT_MS / 2, interval: 50 },
      );
      expect(await graphql(String(url), "", "{ __typename }")).toMatchObject({ errors: [{ extensions: { code: "UNAUTHENTICATED" } }] });

      const second = start(["up", ...ANY_PORTS, "--data", join(dir, "data")]);
      expect(await second.exit).toBe(1);
      expect(second.err()).toContain("Another process works on the data directory");
      expect(second.err()).not.toContain("    at ");

      up.child.kill("SIGTERM");
      expect(await up.exit).toBe(0);
      expect(up.err()).toContain('"msg":"stopped"');
      expect(up.out() + up.err()).not.toContain(token);
    },
    TIMEOUT_MS,
  );

  it(
    "keeps what it made across restarts, and a token that was printed beside it works",
    async () => {
      const data = join(dir, "data");
      const first = start(["up", ...ANY_PORTS, "--data", data]);
      const [, node] = await first.said(REGISTERED);
      const printed = start(["token", "--role", "viewer", "--data", data]);
      expect(await printed.exit).toBe(0);
      first.child.kill("SIGTERM");
      expect(await first.exit).toBe(0);

      const again = start(["up", ...ANY_PORTS, "--data", data]);
      const [, url] = await again.said(/Open {6}(http:\/\/[\d.:]+)\//);
      const [, sameNode] = await again.said(REGISTERED);
      expect(sameNode).toBe(node);
      expect(await graphql(String(url), printed.out().trim(), "{ clusterInfo { clusterName } }")).toMatchObject({
        data: { clusterInfo: { clusterName: "fleetgraph" } },
      });
      for (const file of ["keys/token-key.pem", "ca/ca.pem", "agent/agent.pem"]) {
        expect(existsSync(join(data, file)), file).toBe(true);
        expect(statSync(join(data, file)).mode & 0o077, file).toBe(0);
      }
    },
    TIMEOUT_MS,
  );

  it.each([
    ["--port", "gateway.port"],
    ["--grpc-port", "grpc.port"],
    ["--control-port", "control.port"],
    ["--agent-port", "agent.port"],
  ])(
    "names %s in one line where that port is taken",
    async (flag, key) => {
      const { port, server } = await listening();
      try {
        const args = ANY_PORTS.map((value, index) => (ANY_PORTS[index - 1] === flag ? String(port) : value));
        const up = start(["up", ...args, "--data", join(dir, "data")]);
        expect(await up.exit).toBe(1);
        expect(up.err()).toContain(
          `fleetgraph: Port ${port} on 127.0.0.1 is in use by another program: choose another one with ${flag} (${key}).\n`,
        );
        expect(up.out()).toBe("");
      } finally {
        server.close();
      }
    },
    TIMEOUT_MS,
  );
});

describe("the parts as processes of their own", () => {
  it(
    "find each other by configuration alone",
    async () => {
      const data = join(dir, "data");
      const clusters = start(["subgraph", "clusters", "--port", "0", "--grpc-port", "0", "--control-port", "0", "--data", data]);
      const [, clustersUrl] = await clusters.said(/"url":"(http:[^"]+)","msg":"the subgraph clusters serves"/);
      const address = readFileSync(join(data, "control-address"), "utf8").trim();
      const subgraph = (name: string, ...ports: string[]) =>
        start(["subgraph", name, "--port", "0", "--control-port", "0", ...ports, "--clusters-address", address, "--data", data]);
      const nodes = subgraph("nodes");
      const compute = subgraph("compute", "--grpc-port", "0");
      const [, nodesUrl] = await nodes.said(/"url":"(http:[^"]+)","msg":"the subgraph nodes serves"/);
      const [, computeUrl] = await compute.said(/"url":"(http:[^"]+)","msg":"the subgraph compute serves"/);
      const gateway = start([
        ...["gateway", "--port", "0", "--jwks", join(data, "keys", "jwks.json"), "--data", join(dir, "nowhere")],
        ...["--subgraphs", `clusters=${clustersUrl},nodes=${nodesUrl},compute=${computeUrl}`],
      ]);
      const [, url] = await gateway.said(/"url":"(http:[^"]+)","subgraphs"/);
      const joined = start(["token", "--join", "--data", data]);
      expect(await joined.exit).toBe(0);
      const agent = start([
        "agent",
        "--join",
        joined.out().trim(),
        "--agent-port",
        "0",
        "--hostname",
        "apart",
        "--state",
        join(dir, "agent"),
      ]);
      await agent.said(/the agent is in the graph/);
      const token = start(["token", "--role", "viewer", "--data", data]);
      expect(await token.exit).toBe(0);
      expect(await graphql(String(url), token.out().trim(), "{ nodes { nodes { hostname instanceTotals { managed } } } }")).toMatchObject({
        data: { nodes: { nodes: [{ hostname: "apart", instanceTotals: { managed: 0 } }] } },
      });
      expect(existsSync(join(dir, "nowhere"))).toBe(false);

      const simulation = start(["simulate", "--nodes", "5", "--data", data]);
      await simulation.said(/all simulated agents are registered/);
      expect(
        await graphql(String(url), token.out().trim(), '{ nodes(filter: {name: "sim-"}) { totalCount nodes { simulated } } }'),
      ).toMatchObject({
        data: { nodes: { totalCount: 5, nodes: Array(5).fill({ simulated: true }) } },
      });

      for (const part of [simulation, agent, gateway, compute, nodes, clusters]) {
        part.child.kill("SIGTERM");
        expect(await part.exit, part.err()).toBe(0);
      }
    },
    TIMEOUT_MS * 2,
  );

  it(
    "refuse an agent without a token, in one line",
    async () => {
      const agent = start(["agent", "--state", join(dir, "agent"), "--agent-port", "0"]);
      expect(await agent.exit).toBe(1);
      expect(agent.err()).toContain("start it once with --join TOKEN");
      expect(agent.err()).not.toContain("    at ");
    },
    TIMEOUT_MS,
  );
});
