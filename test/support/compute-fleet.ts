import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { createClient } from "graphql-ws";
import WebSocket from "ws";
import { FLEETGRAPH } from "./built-program.ts";
import { type AgentSettings, type ControlPlane, type FleetHost, startFleetHost, stopFleetHost } from "./fleet-host.ts";
import type { TestHostOptions } from "./host.ts";
import { freePorts, Part } from "./part.ts";
import { ResumingClient } from "./resuming-client.ts";

const run = promisify(execFile);

export interface ComputeFleetOptions {
  /** One for each host. */
  hosts: TestHostOptions[];
  /** Of `fleetgraph up`. */
  flags?: string[];
  /** With an agent for this machine in the same process; without one by default. */
  ownAgent?: boolean;
  environment?: Record<string, string>;
  /** More of the agents' settings, as in their file. */
  agentSettings?: AgentSettings;
}

type Ports = Record<"port" | "grpcPort" | "controlPort", number>;

export interface GraphqlResult {
  // biome-ignore lint/suspicious/noExplicitAny: each test names what it asks for
  data: any;
  errors?: Array<{ message: string; path?: Array<string | number>; extensions: Record<string, unknown> }>;
}

/**
 * `fleetgraph up` without an agent of its own, and simulated machines with libvirt and containers, each with an agent. The images of
 * every host: `tiny` (a disk that boots by BIOS), `tiny-kernel` and `tiny-initrd`; the container image localhost/busybox:latest.
 */
export class ComputeFleet implements ControlPlane, AsyncDisposable {
  readonly directory: string;
  readonly url: string;
  readonly grpcAddress: string;
  readonly up: Part;
  readonly hosts: FleetHost[] = [];
  token = "";
  readonly controlPort: number;
  readonly #data: string[];
  readonly #watches: ResumingClient[] = [];

  private constructor(directory: string, ports: Ports, { flags = [], environment = {}, ownAgent = false }: ComputeFleetOptions) {
    const { port, grpcPort, controlPort } = ports;
    this.directory = directory;
    this.url = `http://127.0.0.1:${port}`;
    this.grpcAddress = `127.0.0.1:${grpcPort}`;
    this.controlPort = controlPort;
    this.#data = ["--data", join(directory, "control")];
    this.up = new Part({
      name: "up",
      args: [
        ...["up", ...(ownAgent ? [] : ["--no-local-agent"]), ...this.#data, "--port", `${port}`, "--grpc-port", `${grpcPort}`],
        ...["--control-host", "0.0.0.0", "--control-port", `${controlPort}`, ...flags],
      ],
      logDirectory: directory,
      environment,
      ready: async () => (await fetch(`${this.url}/readyz`)).ok,
    });
  }

  static async start(options: ComputeFleetOptions): Promise<ComputeFleet> {
    const { hosts, agentSettings } = options;
    const directory = await mkdtemp(join(tmpdir(), "fleetgraph-compute-"));
    const [port, grpcPort, controlPort] = (await freePorts(3)) as [number, number, number];
    const fleet = new ComputeFleet(directory, { port, grpcPort, controlPort }, options);
    try {
      await fleet.up.start();
      fleet.token = await fleet.cli("token", "--role", "admin");
      const started = hosts.map((options, index) => startFleetHost(fleet, index, options, agentSettings));
      for (const result of await Promise.allSettled(started)) {
        if (result.status === "rejected") throw result.reason;
        fleet.hosts.push(result.value);
      }
    } catch (error) {
      await fleet.stop();
      throw error;
    }
    return fleet;
  }

  /** Runs `fleetgraph ARGS` on the control plane's files and gives what it printed. */
  async cli(...args: string[]): Promise<string> {
    const { stdout } = await run(process.execPath, [FLEETGRAPH, ...args, ...this.#data], { timeout: 30_000 });
    return stdout.trim();
  }

  /** One request; an answer with errors is an answer. */
  async ask(query: string, variables: Record<string, unknown> = {}): Promise<GraphqlResult> {
    const response = await fetch(`${this.url}/graphql`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${this.token}` },
      body: JSON.stringify({ query, variables }),
      signal: AbortSignal.timeout(30_000),
    });
    return (await response.json()) as GraphqlResult;
  }

  /** One request that is to succeed. */
  // biome-ignore lint/suspicious/noExplicitAny: each test names what it asks for
  async query(query: string, variables: Record<string, unknown> = {}): Promise<any> {
    const { data, errors } = await this.ask(query, variables);
    if (errors) throw new Error(JSON.stringify(errors));
    return data;
  }

  joinToken(controlAddress: string): Promise<string> {
    return this.cli("token", "--join", "--control-advertise", controlAddress);
  }

  /** A mutation with one input, such as `change("stopInstance", "StopInstanceInput", { instanceId })`; gives the instance. */
  async change(
    name: string,
    input: Record<string, unknown>,
    selection = "id state desiredState stateReason",
  ): Promise<Record<string, unknown> & { id: string; state: string }> {
    const type = `${name[0]?.toUpperCase()}${name.slice(1)}Input!`;
    const data = await this.query(`mutation ($input: ${type}) { ${name}(input: $input) { instance { ${selection} } } }`, { input });
    return data[name].instance;
  }

  /** Follows a resumable subscription. Closed with the fleet. */
  watch(query: string, field: string, variables: Record<string, unknown> = {}): ResumingClient {
    const client = new ResumingClient({ url: `${this.url.replace("http", "ws")}/graphql`, token: this.token, query, field, variables });
    this.#watches.push(client);
    return client;
  }

  /** The results of a subscription that cannot be resumed, such as `instanceStats`. Its end closes the socket. */
  // biome-ignore lint/suspicious/noExplicitAny: each test names what it asks for
  async *stream(query: string, variables: Record<string, unknown>): AsyncGenerator<any, void> {
    const client = createClient({
      url: `${this.url.replace("http", "ws")}/graphql`,
      webSocketImpl: WebSocket,
      connectionParams: { authorization: `Bearer ${this.token}` },
      retryAttempts: 0,
    });
    try {
      for await (const { data, errors } of client.iterate({ query, variables })) {
        if (errors) throw new Error(JSON.stringify(errors));
        yield data;
      }
    } finally {
      await client.dispose();
    }
  }

  /** Waits until the instance is in one of the states; ends early in ERROR. Gives it. */
  async untilState(id: string, states: string | string[], timeoutMs = 60_000): Promise<{ state: string; stateReason: string | null }> {
    const wanted = [states].flat();
    const query = "query ($id: ID!) { instance(id: $id) { state desiredState stateReason errorMessage activity ipAddress ipAddresses } }";
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const seen = (await this.query(query, { id })).instance as { state: string; stateReason: string | null };
      if (wanted.includes(seen.state)) return seen;
      const late = performance.now() > deadline;
      const why = seen.state === "ERROR" ? "failed" : `is not ${wanted} after ${timeoutMs} ms`;
      if (late || seen.state === "ERROR") throw new Error(`${id} ${why}: ${JSON.stringify(seen)}; logs in ${this.directory}`);
      await sleep(100);
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.#watches.map((watch) => watch.close()));
    await Promise.all(this.hosts.map((host) => stopFleetHost(host)));
    await this.up.stop();
    await rm(this.directory, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
