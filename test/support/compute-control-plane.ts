import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ExecutionResult } from "graphql";
import type { Role } from "../../platform/auth/identity.ts";
import { LocalIssuer } from "../../platform/auth/local-issuer.ts";
import type { FleetError } from "../../platform/errors/fleet-error.ts";
import { authenticateByToken } from "../../platform/grpc/authenticate.ts";
import { createGrpcChannel } from "../../platform/grpc/channel.ts";
import { type GrpcClient, grpcClient } from "../../platform/grpc/client.ts";
import { createGrpcServer, type GrpcServer, grpcService } from "../../platform/grpc/server.ts";
import { createLogger, type Logger } from "../../platform/observability/log.ts";
import { Metrics } from "../../platform/observability/metrics.ts";
import { systemContext } from "../../platform/request-context.ts";
import { SecretKeys } from "../../platform/secrets/secret-keys.ts";
import {
  ClusterServiceDefinition,
  type Node,
  NodeRole,
  type UpdateNodeStatusRequest,
} from "../../schema/generated/proto/hypervisor/v1/cluster.ts";
import { ComputeServiceDefinition } from "../../schema/generated/proto/hypervisor/v1/compute.ts";
import { ConsoleAgentServiceDefinition } from "../../schema/generated/proto/hypervisor/v1/consoles.ts";
import { InstanceAgentServiceDefinition } from "../../schema/generated/proto/hypervisor/v1/instances.ts";
import { type ComputeConfig, DEFAULT_COMPUTE_CONFIG } from "../../subgraphs/compute/config.ts";
import { type ComputeSubgraph, startComputeSubgraph } from "../../subgraphs/compute/main.ts";
import type { InstanceView } from "../../subgraphs/compute/services/instance-types.ts";
import { type Bus, InProcessBus } from "../../subgraphs/kit/events/bus.ts";
import { NatsBus } from "../../subgraphs/kit/events/nats-bus.ts";
import { AgentFleet } from "./agent-fleet.ts";
import { agentKeyPair } from "./certificates.ts";
import { NATS_URL } from "./peer-addresses.ts";
import type { Peer } from "./peers.ts";
import { RecordedAgent } from "./recorded-agent.ts";
import { temporaryDatabases } from "./temporary-databases.ts";
import { until } from "./until.ts";

export type ComputeClient = GrpcClient<typeof ComputeServiceDefinition>;

/** The deployments that every test of the subgraph runs over. */
export const COMPUTE_VARIANTS: Array<{ name: string; peers: Peer[] }> = [
  { name: "SQLite", peers: [] },
  { name: "PostgreSQL and NATS", peers: ["postgresql", "nats"] },
];

/** One replica of the subgraph on ports of its own. */
export interface ComputeReplica {
  subgraph: ComputeSubgraph;
  metrics: Metrics;
  /** host:port for users (token, plaintext) and for agents (mTLS). */
  userAddress: string;
  agentAddress: string;
  stop(): Promise<void>;
}

/** Quick enough for tests: nothing is waited for longer than it takes. */
const QUICK: Partial<ComputeConfig> = {
  tasks: { ...DEFAULT_COMPUTE_CONFIG.tasks, sweepMs: 100, firstPauseMs: 20, longestPauseMs: 100, progressMs: 20 },
  dispatch: { deadlineMs: 2_000, perNode: 4, overall: 64, firstPauseMs: 10, longestPauseMs: 50, sweepMs: 50 },
  housekeepingMs: 3_600_000,
  driftCheckMs: 3_600_000,
  evacuationPauseMs: 20,
  sampleTickMs: 20,
};

/** A control plane's compute side with one database, a ClusterService whose nodes a test sets, and agents that are recorded. */
export class ComputeControlPlane implements AsyncDisposable {
  readonly conditionCalls: UpdateNodeStatusRequest[] = [];
  readonly #shared = new InProcessBus();
  #clustersAddress = "";
  #replica: ComputeReplica | null = null;

  private constructor(
    readonly agents: AgentFleet,
    readonly issuer: LocalIssuer,
    readonly databaseUrl: string,
    /** Of the keys of secrets. */
    readonly secretsDir: string,
    readonly variant: string,
  ) {}

  static async open(variant = "SQLite"): Promise<ComputeControlPlane> {
    const agents = await AgentFleet.open();
    const dir = await mkdtemp(join(tmpdir(), "fleetgraph-compute-"));
    agents.keep(dir, () => rm(dir, { recursive: true, force: true }));
    let databaseUrl = `sqlite:${join(dir, "compute.db")}`;
    if (variant !== "SQLite") {
      const databases = await temporaryDatabases(["compute"]);
      agents.keep(databases, () => databases.drop());
      databaseUrl = databases.urls.compute;
    }
    const plane = new ComputeControlPlane(agents, await LocalIssuer.open(join(dir, "keys")), databaseUrl, join(dir, "secrets"), variant);
    const updateNodeStatus = async (request: UpdateNodeStatusRequest) => {
      plane.conditionCalls.push(request);
      agents.cluster.set({ id: request.nodeId, conditions: request.conditions });
      return agents.cluster.nodes.get(request.nodeId) as Node;
    };
    const port = await agents.servePort([grpcService(ClusterServiceDefinition, { ...agents.cluster.methods, updateNodeStatus })]);
    plane.#clustersAddress = port.address;
    return plane;
  }

  /** A replica; the last one started is the one that `client`, `graphql` and the agents use. Ready when this returns. */
  async start(config: Partial<ComputeConfig> = {}, log: Logger = this.agents.log): Promise<ComputeReplica> {
    const bus: Bus = this.variant === "SQLite" ? this.#shared : new NatsBus({ url: NATS_URL, name: "test", log });
    const metrics = new Metrics();
    const verifier = this.issuer.verifier();
    const subgraph = await startComputeSubgraph({
      databaseUrl: this.databaseUrl,
      bus,
      clustersAddress: this.#clustersAddress,
      credentials: () => ({ ...this.agents.control, caPem: this.agents.ca.certificatePem }),
      verifier,
      secrets: await SecretKeys.open(this.secretsDir),
      log,
      metrics,
      config: { ...QUICK, ...config },
    });
    const users = createGrpcServer({ log, metrics, authenticate: authenticateByToken(verifier), credentials: null });
    users.addAll(subgraph.grpcServices());
    const userAddress = `127.0.0.1:${await users.listen("127.0.0.1:0")}`;
    const agentsPort = await this.agents.servePort(subgraph.agentServices());
    let stopped: Promise<void> | null = null;
    const stop = async () => {
      await Promise.all([users.stop(0), agentsPort.server.stop(0)]);
      await subgraph.stop(0);
      if (bus !== this.#shared) await bus.close();
    };
    const replica = {
      subgraph,
      metrics,
      userAddress,
      agentAddress: agentsPort.address,
      stop: () => {
        stopped ??= stop();
        return stopped;
      },
    };
    this.agents.keep(replica, () => replica.stop());
    this.#replica = replica;
    await until(() => subgraph.ready(), "the nodes to be known");
    return replica;
  }

  /** `host:port` of ClusterService, for the control plane. */
  get clustersAddress(): string {
    return this.#clustersAddress;
  }

  get replica(): ComputeReplica {
    if (this.#replica === null) throw new Error("No replica was started.");
    return this.#replica;
  }

  /** A node with an agent of its own, in the fleet and reporting. */
  async node(nodeId: string, more: Partial<Node> = {}): Promise<RecordedAgent> {
    const agentId = `agent-of-${nodeId}`;
    const pair = await agentKeyPair(this.agents.ca, agentId);
    const tls = { caPem: this.agents.ca.certificatePem, peerUri: "fleetgraph://control/*", ...pair };
    let port = 0;
    let channel: { address: string; channel: ReturnType<typeof createGrpcChannel> } | null = null;
    const agent = new RecordedAgent(nodeId, agentId, {
      serve: async (served) => {
        const opened = await this.#serveAgent(served, pair, port);
        port = opened.port;
        this.agents.cluster.set(workerNode(nodeId, agentId, port, more));
        return opened.server;
      },
      reports: async () => {
        const address = this.replica.agentAddress;
        if (channel?.address !== address) {
          channel?.channel.close();
          channel = { address, channel: createGrpcChannel(address, tls, { reconnectMs: { first: 20, longest: 50 } }) };
        }
        return channel.channel;
      },
    });
    this.agents.keep(agent, async () => {
      await agent.kill();
      channel?.channel.close();
    });
    await agent.start();
    await until(() => this.#isKnown(nodeId), `${nodeId} to be known`);
    return agent;
  }

  /** Whether the current replica would place something there: asked for by what fits nowhere. */
  async #isKnown(nodeId: string): Promise<boolean> {
    const spec = { image: "none", cpuCores: 1_024, memoryBytes: GIB };
    const asked = this.replica.subgraph.services.creation.create(systemCaller(), {
      name: "probe",
      type: "VM",
      spec,
      preferredNodeId: nodeId,
    });
    return asked.then(
      () => false,
      (error: FleetError) => error.code === "RESOURCE_EXHAUSTED",
    );
  }

  async #serveAgent(
    agent: RecordedAgent,
    pair: { certificatePem: string; keyPem: string },
    port: number,
  ): Promise<{ server: GrpcServer; port: number }> {
    const services = [
      grpcService(InstanceAgentServiceDefinition, {
        applyInstance: (request) => agent.applyInstance(request),
        sampleInstances: (request) => agent.sampleInstances(request),
      }),
      agent.images.service(),
      agent.migrations.service(),
      agent.storage.service(),
      agent.snapshots.service(),
      agent.power.service(),
      agent.devices.service(),
      grpcService(ConsoleAgentServiceDefinition, {
        openConsole: (request) => agent.consoles.openConsole(request),
        listConsoles: (request) => agent.consoles.listConsoles(request),
        followConsole: (request) => agent.consoles.followConsole(request),
        writeConsole: (request) => agent.consoles.writeConsole(request),
        resizeConsole: (request) => agent.consoles.resizeConsole(request),
        closeConsole: (request) => agent.consoles.closeConsole(request),
      }),
    ];
    return this.agents.serveServices(pair, services, port);
  }

  /** A token of a role; null: none. */
  async token(role: Role): Promise<string> {
    return this.issuer.issue({ subject: `a ${role}`, role, ttlSeconds: 600 });
  }

  async headers(role: Role | null): Promise<Record<string, string>> {
    return role === null ? {} : { authorization: `Bearer ${await this.token(role)}` };
  }

  /** ComputeService of the current replica. */
  async client(role: Role | null = "operator", replica = this.replica): Promise<ComputeClient> {
    const token = role === null ? undefined : await this.token(role);
    const channel = this.agents.keep(createGrpcChannel(replica.userAddress), (opened) => opened.close());
    return grpcClient(ComputeServiceDefinition, channel, { token: () => token });
  }

  async execute(role: Role | null, query: string, variables?: Record<string, unknown>, replica = this.replica): Promise<ExecutionResult> {
    return replica.subgraph.handler.execute({ query, variables, headers: await this.headers(role) });
  }

  /** The data of a request by an operator; throws where there were errors. */
  // biome-ignore lint/suspicious/noExplicitAny: what comes back is what the test asked for
  async ask(query: string, variables?: Record<string, unknown>): Promise<any> {
    const { data, errors } = await this.execute("operator", query, variables);
    if (errors) throw new Error(JSON.stringify(errors));
    return data;
  }

  /** An instance as the services show it. */
  async see(id: string): Promise<InstanceView> {
    return this.replica.subgraph.services.queries.get(systemCaller(), id);
  }

  async untilSeen(id: string, holds: (instance: InstanceView) => boolean, what: string): Promise<InstanceView> {
    let seen = await this.see(id);
    await until(async () => {
      seen = await this.see(id);
      return holds(seen);
    }, what).catch((error: Error) => {
      throw new Error(`${error.message} It is ${JSON.stringify(seen)}`);
    });
    return seen;
  }

  untilState(id: string, state: InstanceView["state"]): Promise<InstanceView> {
    return this.untilSeen(id, (seen) => seen.state === state, `${id} to be ${state}`);
  }

  /** What is reserved on nodes, and the sum over their instances; equal, or something is wrong. */
  async reservations(): Promise<Record<string, { reserved: number[]; sum: number[] }>> {
    const nodeIds = [...this.agents.cluster.nodes.keys()];
    const reps = nodeIds.map((id) => ({ __typename: "Node", id }));
    const { _entities } = await this.ask(
      `query ($reps: [_Any!]!) { _entities(representations: $reps) { ... on Node { id
        instanceTotals { reservedCpuCores reservedMemoryBytes reservedDiskBytes }
        instances(first: 100, filter: { managed: true }) { totalCount nodes { spec { cpuCores memoryBytes disks { sizeBytes } } } } } } }`,
      { reps },
    );
    const result: Record<string, { reserved: number[]; sum: number[] }> = {};
    for (const { id, instanceTotals, instances } of _entities) {
      if (instances.totalCount > 100) throw new Error("More instances than one page has.");
      const total = (read: (spec: InstanceView["spec"]) => number) =>
        instances.nodes.reduce((sum: number, { spec }: { spec: InstanceView["spec"] }) => sum + read(spec), 0);
      const { reservedCpuCores, reservedMemoryBytes, reservedDiskBytes } = instanceTotals;
      result[id] = {
        reserved: [reservedCpuCores, reservedMemoryBytes, reservedDiskBytes],
        sum: [
          total(({ cpuCores }) => cpuCores),
          total(({ memoryBytes }) => memoryBytes),
          total(({ disks }) => disks.reduce((sum, { sizeBytes }) => sum + (sizeBytes ?? 0), 0)),
        ],
      };
    }
    return result;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.agents.close();
  }
}

export const GIB = 2 ** 30;

const log = createLogger({ name: "test", level: "silent" });
const systemCaller = () => systemContext("test", new AbortController().signal, log);

/** A worker with plenty of everything. */
export function workerNode(id: string, agentId: string, port: number, more: Partial<Node> = {}): Partial<Node> & { id: string } {
  return {
    id,
    agentId,
    role: NodeRole.WORKER,
    ip: "127.0.0.1",
    port,
    supportedInstanceTypes: ["vm", "microvm", "container"],
    allocatable: { cpuCores: 1_000, memoryBytes: 1_024 * GIB, diskBytes: 4096 * GIB, gpuCount: 0 },
    conditions: [],
    metadata: { labels: {}, annotations: {} },
    ...more,
  };
}
