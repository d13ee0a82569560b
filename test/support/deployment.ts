import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { FLEETGRAPH } from "./built-program.ts";
import { freePorts, Part } from "./part.ts";

const run = promisify(execFile);

export interface DeploymentOptions {
  /** Databases to use, by subgraph; SQLite files where there is none. */
  databases?: Record<"clusters" | "nodes" | "compute", string>;
  nats?: string;
  /** The agent's, such as the sockets of what runs instances; none by default. */
  agentFlags?: string[];
  agentEnvironment?: Record<string, string>;
  /** Flags for every process of the control plane, such as a shorter lease. */
  flags?: string[];
  /** Of every process of the control plane. */
  environment?: Record<string, string>;
}

export interface GraphqlAnswer {
  data?: Record<string, never> | null;
  errors?: Array<{ message: string; path?: Array<string | number>; extensions?: Record<string, unknown> }>;
}

/** The parts of a fleet as processes of their own: clusters, nodes, compute, gateway and one agent for this machine, without drivers. */
export class Deployment {
  readonly directory: string;
  readonly url: string;
  readonly socketUrl: string;
  readonly grpcAddress: string;
  readonly controlAddress: string;
  /** Of InventoryService. */
  readonly inventoryAddress: string;
  readonly parts: Record<"clusters" | "nodes" | "compute" | "gateway" | "agent", Part>;
  token = "";
  private readonly control: string[];

  private constructor(directory: string, ports: number[], options: DeploymentOptions) {
    const [gateway = 0, clusters = 0, grpc = 0, control = 0, nodes = 0, nodesControl = 0, ...rest] = ports;
    const [compute = 0, computeGrpc = 0, computeControl = 0, agent = 0] = rest;
    this.directory = directory;
    this.url = `http://127.0.0.1:${gateway}/graphql`;
    this.socketUrl = `ws://127.0.0.1:${gateway}/graphql`;
    this.grpcAddress = `127.0.0.1:${grpc}`;
    this.controlAddress = `127.0.0.1:${control}`;
    this.inventoryAddress = `127.0.0.1:${nodesControl}`;
    const data = ["--data", join(directory, "control")];
    const store = (name: "clusters" | "nodes" | "compute") => (options.databases ? [`--${name}-database`, options.databases[name]] : []);
    const nats = options.nats ? ["--nats", options.nats] : [];
    const flags = options.flags ?? [];
    this.control = [...data, ...store("clusters")];
    const part = (name: string, port: number, args: string[]) =>
      new Part({
        name,
        args,
        environment: options.environment,
        logDirectory: join(directory, "logs"),
        ready: () => answers(`http://127.0.0.1:${port}/readyz`),
      });
    const peers = `hypervisor.v1.InventoryService=127.0.0.1:${nodesControl},hypervisor.v1.BridgeService=127.0.0.1:${nodesControl},hypervisor.v1.InstanceReportService=127.0.0.1:${computeControl},hypervisor.v1.ImageCredentialService=127.0.0.1:${computeControl}`;
    this.parts = {
      clusters: part("clusters", clusters, [
        ...["subgraph", "clusters", ...this.control, ...nats, "--port", `${clusters}`, "--grpc-port", `${grpc}`],
        ...["--control-port", `${control}`, "--control-peers", peers, ...flags],
      ]),
      nodes: part("nodes", nodes, [
        ...["subgraph", "nodes", ...data, ...store("nodes"), ...nats, "--port", `${nodes}`],
        ...["--control-port", `${nodesControl}`, "--clusters-address", this.controlAddress, ...flags],
        ...["--compute-address", `127.0.0.1:${computeControl}`],
      ]),
      compute: part("compute", compute, [
        ...["subgraph", "compute", ...data, ...store("compute"), ...nats, "--port", `${compute}`, "--grpc-port", `${computeGrpc}`],
        ...["--control-port", `${computeControl}`, "--clusters-address", this.controlAddress, ...flags],
      ]),
      gateway: part("gateway", gateway, [
        ...["gateway", ...data, "--port", `${gateway}`],
        ...[
          "--subgraphs",
          Object.entries({ clusters, nodes, compute })
            .map(([name, at]) => `${name}=http://127.0.0.1:${at}/graphql`)
            .join(","),
        ],
      ]),
      agent: new Part({
        name: "agent",
        args: [
          ...["agent", "--data", join(directory, "agent"), "--agent-port", `${agent}`],
          ...["--control-plane", this.controlAddress, "--join-file", join(directory, "join-token")],
          ...(options.agentFlags ?? ["--libvirt", "none", "--container-socket", "none"]),
        ],
        environment: options.agentEnvironment,
        logDirectory: join(directory, "logs"),
        ready: async () => (await this.query("{ nodes { nodes { status simulated } } }")).data !== null,
      }),
    };
  }

  /** Lays out directory and ports; starts nothing. */
  static async create(options: DeploymentOptions = {}): Promise<Deployment> {
    const directory = await mkdtemp(join(tmpdir(), "fleetgraph-"));
    return new Deployment(directory, await freePorts(10), options);
  }

  /** Starts every part, the agent last, and waits until each serves. */
  async start(): Promise<void> {
    await this.parts.clusters.start();
    this.token = await this.cli("token", "--role", "admin", "--ttl", "86400", "--data", join(this.directory, "control"));
    await Promise.all([this.parts.nodes.start(), this.parts.compute.start(), this.parts.gateway.start()]);
    await writeFile(join(this.directory, "join-token"), await this.joinToken(), { mode: 0o600 });
    await this.parts.agent.start();
  }

  /** A token with which `uses` hosts can join. */
  joinToken(uses = 1): Promise<string> {
    return this.cli("token", "--join", "--uses", `${uses}`, "--control-advertise", this.controlAddress, ...this.control);
  }

  /** Runs `fleetgraph ARGS` to its end and answers what it printed. */
  async cli(...args: string[]): Promise<string> {
    const { stdout } = await run(process.execPath, [FLEETGRAPH, ...args], { timeout: 60_000 });
    return stdout.trim();
  }

  /** One request through the gateway; throws where no GraphQL answer came. */
  async query(query: string, variables: Record<string, unknown> = {}, timeoutMs = 5_000): Promise<GraphqlAnswer> {
    const response = await fetch(this.url, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${this.token}` },
      body: JSON.stringify({ query, variables }),
      signal: AbortSignal.timeout(timeoutMs),
    });
    return (await response.json()) as GraphqlAnswer;
  }

  /** Stops every part. Their logs stay where `keepLogs` is said. */
  async stop({ keepLogs = false } = {}): Promise<void> {
    await Promise.all(Object.values(this.parts).map((part) => part.stop()));
    if (!keepLogs) await rm(this.directory, { recursive: true, force: true });
  }
}

async function answers(url: string): Promise<boolean> {
  const response = await fetch(url, { signal: AbortSignal.timeout(2_000) });
  await response.arrayBuffer();
  return response.ok;
}
