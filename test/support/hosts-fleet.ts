import { randomBytes, randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import type { ExecutionResult } from "graphql";
import type { Role } from "../../platform/auth/identity.ts";
import { LocalIssuer } from "../../platform/auth/local-issuer.ts";
import { authenticateByCertificate } from "../../platform/grpc/authenticate.ts";
import { ChannelPool } from "../../platform/grpc/channel-pool.ts";
import { createGrpcServer, type GrpcService, grpcService } from "../../platform/grpc/server.ts";
import { ServerTls } from "../../platform/grpc/server-tls.ts";
import { createLogger, type Logger } from "../../platform/observability/log.ts";
import { Metrics } from "../../platform/observability/metrics.ts";
import { SecretKeys } from "../../platform/secrets/secret-keys.ts";
import { CertificateAuthority } from "../../platform/tls/certificate-authority.ts";
import type { KeyPair } from "../../platform/tls/certificate-files.ts";
import { EvacuationServiceDefinition, EvacuationState } from "../../schema/generated/proto/hypervisor/v1/evacuation.ts";
import { type ClustersSubgraph, startClustersSubgraph } from "../../subgraphs/clusters/main.ts";
import { InProcessBus } from "../../subgraphs/kit/events/bus.ts";
import type { NodesConfig } from "../../subgraphs/nodes/config.ts";
import { type NodesSubgraph, startNodesSubgraph } from "../../subgraphs/nodes/main.ts";
import { agentKeyPair } from "./certificates.ts";
import { type ReachableHost, RecordedBridge } from "./recorded-bridge.ts";
import { temporaryDatabases } from "./temporary-databases.ts";

/** Long enough for a busy machine to keep its leases. */
const LEASE_SECONDS = 3;
const BRIDGING: NodesConfig["bridging"] = { roundMs: 100, settleMs: 1_000, streamMs: 5_000 };

export interface NodesReplica {
  subgraph: NodesSubgraph;
  /** Of its agents' port. */
  address: string;
  /** As SIGKILL does, as far as the database and its peers can tell. */
  kill(): Promise<void>;
}

/** The clusters subgraph and replicas of the nodes subgraph, both real, with agents that a test makes and a table of hosts that these reach. */
export class HostsFleet implements AsyncDisposable {
  readonly world = new Map<string, ReachableHost>();
  /** What runs on a node, as the compute subgraph counts it. */
  readonly running = new Map<string, number>();
  readonly logged: string[] = [];
  clusters!: ClustersSubgraph;
  databaseUrl = "";
  readonly #closers: Array<() => unknown> = [];
  readonly #bus = new InProcessBus();
  readonly #metrics = new Metrics();
  readonly #log: Logger;
  #clustersAddress = "";
  #dir = "";
  #issuer!: LocalIssuer;
  #ca!: CertificateAuthority;
  #pair!: KeyPair;

  private constructor() {
    this.#log = createLogger({ name: "test", level: "debug", destination: this.#lines() });
  }

  static async start(variant: "SQLite" | "PostgreSQL"): Promise<HostsFleet> {
    const fleet = new HostsFleet();
    try {
      await fleet.#start(variant);
      return fleet;
    } catch (error) {
      await fleet[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** A host that agents reach at `qemu+ssh://root@NAME/system`. */
  addHost(name: string, more: Partial<ReachableHost> = {}): { uri: string; host: ReachableHost } {
    const uri = `qemu+ssh://root@${name}/system`;
    const host = {
      hostKey: `ssh-ed25519 ${randomBytes(51).toString("base64")}`,
      password: `p-${randomUUID()}`,
      privateKey: `-----BEGIN OPENSSH PRIVATE KEY-----\n${randomBytes(120).toString("base64")}\n-----END OPENSSH PRIVATE KEY-----\n`,
      uuid: randomUUID(),
      bootId: randomUUID(),
      ...more,
    };
    this.world.set(uri, host);
    return { uri, host };
  }

  async replica(): Promise<NodesReplica> {
    const subgraph = await startNodesSubgraph({
      databaseUrl: this.databaseUrl,
      bus: this.#bus,
      clustersAddress: this.#clustersAddress,
      computeAddress: this.#clustersAddress,
      credentials: () => ({ ...this.#pair, caPem: this.#ca.certificatePem }),
      verifier: this.#issuer.verifier(),
      secrets: await SecretKeys.open(join(this.#dir, "secrets")),
      log: this.#log,
      metrics: this.#metrics,
      config: { bridging: BRIDGING },
    });
    const { server, port } = await this.#serve(this.#pair, subgraph.agentServices());
    const kill = async () => {
      await server.stop(0);
      await subgraph.stop(0);
    };
    this.#closers.push(kill);
    return { subgraph, address: `127.0.0.1:${port}`, kill };
  }

  /** An agent whose lists come from the replica; the rest of the control plane is the same for all. */
  async bridge(name: string, replica: NodesReplica, willing = true): Promise<RecordedBridge> {
    const pair = await agentKeyPair(this.#ca, `agent-${name}`);
    const pool = new ChannelPool({ credentials: () => ({ ...pair, caPem: this.#ca.certificatePem }) });
    const bridge = new RecordedBridge({
      ...{ agentId: `agent-${name}`, hostname: name, world: this.world, willing, listAddress: replica.address },
      serve: (services) => this.#serve(pair, services),
      dial: (address) => pool.lease({ address: address ?? this.#clustersAddress, peerUri: "fleetgraph://control/*" }),
    });
    this.#closers.push(async () => {
      await bridge.kill();
      pool.close();
    });
    return bridge.start();
  }

  /** A request with a role's token, to a replica of the nodes subgraph or to the clusters subgraph. */
  async ask(
    to: NodesReplica | ClustersSubgraph,
    query: string,
    variables: Record<string, unknown> = {},
    role: Role | null = "admin",
  ): Promise<ExecutionResult> {
    const { handler } = "subgraph" in to ? to.subgraph : to;
    const token = role === null ? null : await this.#issuer.issue({ subject: `a ${role}`, role, ttlSeconds: 600 });
    return handler.execute({ query, variables, headers: token === null ? {} : { authorization: `Bearer ${token}` } });
  }

  addNode(replica: NodesReplica, input: Record<string, unknown>, role: Role | null = "admin"): Promise<ExecutionResult> {
    const query = "mutation ($input: AddNodeInput!) { addNode(input: $input) { node { id } bridgedBy { id } hostKeys } }";
    return this.ask(replica, query, { input }, role);
  }

  /** Nodes in service, by hostname. */
  // biome-ignore lint/suspicious/noExplicitAny: what comes back is what was asked for
  async nodes(): Promise<Map<string, any>> {
    const fields =
      "id hostname status kind maintenance uri agentId region labels { key value } capacity { cpuCores } connection { state lastError bridged }";
    const { data, errors } = await this.ask(this.clusters, `{ nodes(first: 100) { nodes { ${fields} } } }`);
    if (errors) throw new Error(JSON.stringify(errors));
    // biome-ignore lint/suspicious/noExplicitAny: as above
    return new Map((data as any).nodes.nodes.map((node: any) => [node.hostname, node]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const close of this.#closers.splice(0).reverse()) await close();
  }

  #lines(): Writable {
    return new Writable({
      decodeStrings: false,
      write: (line: string, _encoding, done) => {
        this.logged.push(line);
        done();
      },
    });
  }

  async #start(variant: "SQLite" | "PostgreSQL"): Promise<void> {
    this.#dir = await mkdtemp(join(tmpdir(), "fleetgraph-hosts-"));
    this.#closers.push(() => rm(this.#dir, { recursive: true, force: true }));
    this.#ca = await CertificateAuthority.open(join(this.#dir, "ca"));
    this.#issuer = await LocalIssuer.open(join(this.#dir, "keys"));
    this.#pair = await this.#ca.issueControl("up", ["127.0.0.1"]);
    this.databaseUrl = await this.#database(variant);
    this.clusters = await startClustersSubgraph({
      databaseUrl: `sqlite:${join(this.#dir, "clusters.db")}`,
      ...{ bus: this.#bus, verifier: this.#issuer.verifier(), authority: this.#ca, log: this.#log, metrics: new Metrics() },
      secrets: await SecretKeys.open(join(this.#dir, "secrets")),
      config: { heartbeatIntervalSeconds: 1, leaseTtlSeconds: LEASE_SECONDS, sweepIntervalMs: 100, livenessIntervalMs: 500 },
    });
    this.#closers.push(() => this.clusters.stop(0));
    const { port } = await this.#serve(this.#pair, [...this.clusters.agentServices(), this.#evacuation()]);
    this.#clustersAddress = `127.0.0.1:${port}`;
  }

  async #database(variant: "SQLite" | "PostgreSQL"): Promise<string> {
    if (variant === "SQLite") return `sqlite:${join(this.#dir, "nodes.db")}`;
    const databases = await temporaryDatabases(["nodes"]);
    this.#closers.push(() => databases.drop());
    return databases.urls.nodes;
  }

  #evacuation(): GrpcService {
    return grpcService(EvacuationServiceDefinition, {
      countInstances: async ({ nodeId }) => {
        const running = this.running.get(nodeId) ?? 0;
        return { managed: running, running, unmanagedRunning: 0 };
      },
      evacuate: async ({ nodeId }) => {
        const total = this.running.get(nodeId) ?? 0;
        this.running.set(nodeId, 0);
        return EvacuationState.fromPartial({ total, done: total });
      },
      restore: async () => EvacuationState.fromPartial({}),
    });
  }

  async #serve(pair: KeyPair, services: GrpcService[]) {
    const credentials = new ServerTls({ ...pair, caPem: this.#ca.certificatePem, clientCertificates: "required" });
    const authenticate = authenticateByCertificate(this.#ca);
    const server = createGrpcServer({ log: this.#log, metrics: new Metrics(), credentials, authenticate });
    server.addAll(services);
    const port = await server.listen("127.0.0.1:0");
    this.#closers.push(() => server.stop(0));
    return { server, port };
  }
}
