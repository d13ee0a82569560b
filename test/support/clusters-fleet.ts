import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ExecutionResult } from "graphql";
import type { Channel } from "nice-grpc";
import { Client } from "pg";
import type { Role } from "../../platform/auth/identity.ts";
import { LocalIssuer } from "../../platform/auth/local-issuer.ts";
import { FleetError } from "../../platform/errors/fleet-error.ts";
import { authenticateByCertificate, authenticateByToken } from "../../platform/grpc/authenticate.ts";
import { createGrpcChannel } from "../../platform/grpc/channel.ts";
import { type GrpcClient, grpcClient } from "../../platform/grpc/client.ts";
import { createGrpcServer } from "../../platform/grpc/server.ts";
import { ServerTls } from "../../platform/grpc/server-tls.ts";
import { createLogger, type Logger } from "../../platform/observability/log.ts";
import { Metrics } from "../../platform/observability/metrics.ts";
import { SecretKeys } from "../../platform/secrets/secret-keys.ts";
import { CertificateAuthority } from "../../platform/tls/certificate-authority.ts";
import type { KeyPair } from "../../platform/tls/certificate-files.ts";
import { EnrollmentServiceDefinition } from "../../schema/generated/proto/hypervisor/v1/agent.ts";
import { ClusterServiceDefinition, NodeRole, type RegisterNodeRequest } from "../../schema/generated/proto/hypervisor/v1/cluster.ts";
import type { ClustersConfig } from "../../subgraphs/clusters/config.ts";
import { type ClustersSubgraph, startClustersSubgraph } from "../../subgraphs/clusters/main.ts";
import { type Bus, InProcessBus } from "../../subgraphs/kit/events/bus.ts";
import { NatsBus } from "../../subgraphs/kit/events/nats-bus.ts";
import { agentKeyPair } from "./certificates.ts";
import { NATS_URL, POSTGRESQL_URL } from "./peer-addresses.ts";
import type { Peer } from "./peers.ts";

export type ClusterClient = GrpcClient<typeof ClusterServiceDefinition>;
export type EnrollmentClient = GrpcClient<typeof EnrollmentServiceDefinition>;

/** The deployments that every test of the subgraph runs over. */
export const CLUSTERS_VARIANTS: Array<{ name: string; peers: Peer[] }> = [
  { name: "SQLite", peers: [] },
  { name: "PostgreSQL and NATS", peers: ["postgresql", "nats"] },
];

const quiet = createLogger({ name: "test", level: process.env["TEST_LOG_LEVEL"] === undefined ? "silent" : "debug" });

/** One replica of the subgraph on ports of its own. */
export interface ClustersReplica {
  subgraph: ClustersSubgraph;
  /** host:port for users (token, plaintext) and for agents (mTLS). */
  userAddress: string;
  agentAddress: string;
  metrics: Metrics;
  stop(): Promise<void>;
}

/** A fleet's control plane with one database, one CA, one token issuer, and any number of replicas. */
export class ClustersFleet {
  readonly ca: CertificateAuthority;
  readonly databaseUrl: string;
  /** Of the keys that seal what the database keeps. */
  readonly secretsDir: string;
  readonly #issuer: LocalIssuer;
  readonly #dir: string;
  readonly #log: Logger;
  readonly #shared = new InProcessBus();
  readonly #nats: boolean;
  readonly #replicas: ClustersReplica[] = [];
  readonly #channels: Channel[] = [];

  private constructor(ca: CertificateAuthority, issuer: LocalIssuer, dir: string, variant: string, log: Logger) {
    this.ca = ca;
    this.#issuer = issuer;
    this.#dir = dir;
    this.#log = log;
    this.secretsDir = join(dir, "secrets");
    this.#nats = variant !== "SQLite";
    const url = new URL(POSTGRESQL_URL);
    url.pathname = `/clusters_test_${randomBytes(6).toString("hex")}`;
    this.databaseUrl = this.#nats ? url.href : `sqlite:${join(dir, "clusters.db")}`;
  }

  /** `log`: where all of it is logged; nowhere unless told. */
  static async open(variant: string, log = quiet): Promise<ClustersFleet> {
    const dir = await mkdtemp(join(tmpdir(), "fleetgraph-clusters-"));
    const ca = await CertificateAuthority.open(join(dir, "ca"));
    return new ClustersFleet(ca, await LocalIssuer.open(join(dir, "keys")), dir, variant, log);
  }

  async replica(config: Partial<ClustersConfig> = {}): Promise<ClustersReplica> {
    const log = this.#log;
    const bus: Bus = this.#nats ? new NatsBus({ url: NATS_URL, name: "test", log }) : this.#shared;
    const verifier = this.#issuer.verifier();
    const metrics = new Metrics();
    const subgraph = await startClustersSubgraph({
      databaseUrl: this.databaseUrl,
      bus,
      verifier,
      authority: this.ca,
      secrets: await SecretKeys.open(this.secretsDir),
      log,
      metrics,
      config,
      agentEndpoints: [{ service: "hypervisor.v1.InventoryService", address: "127.0.0.1:1" }],
    });
    const users = createGrpcServer({ log, metrics, authenticate: authenticateByToken(verifier), credentials: null });
    users.addAll(subgraph.grpcServices());
    const pair = await this.ca.issueControl("clusters", ["127.0.0.1"]);
    const credentials = new ServerTls({ ...pair, caPem: this.ca.certificatePem, clientCertificates: "optional" });
    const agents = createGrpcServer({ log, metrics, authenticate: authenticateByCertificate(this.ca), credentials });
    agents.addAll(subgraph.agentServices());
    const replica: ClustersReplica = {
      subgraph,
      metrics,
      userAddress: `127.0.0.1:${await users.listen("127.0.0.1:0")}`,
      agentAddress: `127.0.0.1:${await agents.listen("127.0.0.1:0")}`,
      stop: async () => {
        this.#replicas.splice(this.#replicas.indexOf(replica), 1);
        await Promise.all([users.stop(1_000), agents.stop(1_000)]);
        await subgraph.stop(1_000);
        if (this.#nats) await bus.close();
      },
    };
    this.#replicas.push(replica);
    return replica;
  }

  token(role: Role, ttlSeconds = 600): Promise<string> {
    return this.#issuer.issue({ subject: `a ${role}`, role, ttlSeconds });
  }

  /** The users' port with a role's token; null: without one. */
  async user(replica: ClustersReplica, role: Role | null): Promise<ClusterClient> {
    const token = role === null ? undefined : await this.token(role);
    return grpcClient(ClusterServiceDefinition, this.#channel(createGrpcChannel(replica.userAddress)), { token: () => token });
  }

  /** The agents' port with the certificate of an agent. */
  async agent(replica: ClustersReplica, agentId: string): Promise<ClusterClient> {
    return grpcClient(ClusterServiceDefinition, this.agentChannel(replica, await agentKeyPair(this.ca, agentId)));
  }

  enrollment(replica: ClustersReplica, pair?: KeyPair): EnrollmentClient {
    return grpcClient(EnrollmentServiceDefinition, this.agentChannel(replica, pair));
  }

  agentChannel(replica: ClustersReplica, pair?: KeyPair): Channel {
    const tls = { caPem: this.ca.certificatePem, peerUri: "fleetgraph://control/*", ...pair };
    return this.#channel(createGrpcChannel(replica.agentAddress, tls));
  }

  /** A GraphQL request with a role's token, in process. */
  async graphql(replica: ClustersReplica, role: Role | null, query: string, variables?: Record<string, unknown>): Promise<ExecutionResult> {
    return replica.subgraph.handler.execute({ query, variables, headers: await this.headers(role) });
  }

  async headers(role: Role | null): Promise<Record<string, string>> {
    return role === null ? {} : { authorization: `Bearer ${await this.token(role)}` };
  }

  async close(): Promise<void> {
    for (const channel of this.#channels) channel.close();
    for (const replica of [...this.#replicas]) await replica.stop();
    if (this.#nats) await this.#dropDatabase();
    await rm(this.#dir, { recursive: true, force: true });
  }

  #channel(channel: Channel): Channel {
    this.#channels.push(channel);
    return channel;
  }

  async #dropDatabase(): Promise<void> {
    const client = new Client({ connectionString: POSTGRESQL_URL });
    await client.connect();
    await client.query(`drop database if exists "${new URL(this.databaseUrl).pathname.slice(1)}" with (force)`);
    await client.end();
  }
}

/** The error that a call ends with. */
export async function refusal(call: Promise<unknown>): Promise<FleetError> {
  try {
    await call;
  } catch (error) {
    if (error instanceof FleetError) return error;
    throw error;
  }
  throw new Error("The call was accepted.");
}

/** The one error of a GraphQL answer: its code with what goes with it. */
export function graphqlRefusal(result: ExecutionResult): Record<string, unknown> {
  const [error] = result.errors ?? [];
  if (!error) throw new Error(`The request was accepted: ${JSON.stringify(result.data)}`);
  return { ...error.extensions };
}

/** What a worker's agent says about it. */
export function registration(hostname: string, rest: Partial<RegisterNodeRequest> = {}): Partial<RegisterNodeRequest> {
  return {
    hostname,
    ip: "192.168.1.100",
    port: 50052,
    role: NodeRole.WORKER,
    capacity: { cpuCores: 16, memoryBytes: 68719476736, diskBytes: 536870912000, gpuCount: 0 },
    supportedInstanceTypes: ["vm", "container"],
    ...rest,
  };
}
