import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ExecutionResult } from "graphql";
import { Client } from "pg";
import type { Role } from "../../platform/auth/identity.ts";
import { LocalIssuer } from "../../platform/auth/local-issuer.ts";
import { createGrpcChannel } from "../../platform/grpc/channel.ts";
import { type GrpcClient, grpcClient } from "../../platform/grpc/client.ts";
import { grpcService } from "../../platform/grpc/server.ts";
import { SecretKeys } from "../../platform/secrets/secret-keys.ts";
import type { KeyPair } from "../../platform/tls/certificate-files.ts";
import { InventoryServiceDefinition } from "../../schema/generated/proto/hypervisor/v1/agent.ts";
import { ClusterServiceDefinition } from "../../schema/generated/proto/hypervisor/v1/cluster.ts";
import { InProcessBus } from "../../subgraphs/kit/events/bus.ts";
import type { NodesConfig } from "../../subgraphs/nodes/config.ts";
import { type NodesSubgraph, startNodesSubgraph } from "../../subgraphs/nodes/main.ts";
import { AgentFleet } from "./agent-fleet.ts";
import { agentKeyPair } from "./certificates.ts";
import { POSTGRESQL_URL } from "./peer-addresses.ts";
import type { Peer } from "./peers.ts";

export type InventoryClient = GrpcClient<typeof InventoryServiceDefinition>;

/** The databases that every test of the subgraph runs over. */
export const NODES_VARIANTS: Array<{ name: "SQLite" | "PostgreSQL"; peers: Peer[] }> = [
  { name: "SQLite", peers: [] },
  { name: "PostgreSQL", peers: ["postgresql"] },
];

/** One nodes subgraph with its agents' port, and the cluster and the agents that a test gives it. */
export class NodesFleet {
  readonly agents: AgentFleet;
  readonly databaseUrl: string;
  readonly #issuer: LocalIssuer;
  readonly #secretsDir: string;
  readonly #bus = new InProcessBus();
  #address = "";

  private constructor(agents: AgentFleet, issuer: LocalIssuer, databaseUrl: string, secretsDir: string) {
    this.agents = agents;
    this.#issuer = issuer;
    this.databaseUrl = databaseUrl;
    this.#secretsDir = secretsDir;
  }

  static async open(variant: "SQLite" | "PostgreSQL"): Promise<NodesFleet> {
    const agents = await AgentFleet.open();
    const dir = await mkdtemp(join(tmpdir(), "fleetgraph-nodes-"));
    agents.keep(dir, () => rm(dir, { recursive: true, force: true }));
    const databaseUrl = variant === "SQLite" ? `sqlite:${join(dir, "nodes.db")}` : await temporaryDatabase(agents);
    return new NodesFleet(agents, await LocalIssuer.open(join(dir, "keys")), databaseUrl, join(dir, "secrets"));
  }

  /** A replica; the first one opens the agents' port, with ClusterService beside it. */
  async start(config: Partial<NodesConfig> = {}): Promise<NodesSubgraph> {
    const opened = Promise.withResolvers<string>();
    const address = this.#address === "" ? opened.promise : this.#address;
    const subgraph = await startNodesSubgraph({
      databaseUrl: this.databaseUrl,
      bus: this.#bus,
      clustersAddress: address,
      computeAddress: address,
      credentials: () => ({ ...this.agents.control, caPem: this.agents.ca.certificatePem }),
      verifier: this.#issuer.verifier(),
      secrets: await SecretKeys.open(this.#secretsDir),
      log: this.agents.log,
      metrics: this.agents.metrics,
      config,
    });
    this.agents.keep(subgraph, () => subgraph.stop(0));
    if (this.#address === "") {
      const cluster = grpcService(ClusterServiceDefinition, this.agents.cluster.methods);
      this.#address = (await this.agents.servePort([cluster, ...subgraph.agentServices()])).address;
      opened.resolve(this.#address);
    }
    return subgraph;
  }

  /** InventoryService, by the certificate of an agent, or another. */
  async inventory(agentId: string, pair?: KeyPair): Promise<InventoryClient> {
    const tls = {
      caPem: this.agents.ca.certificatePem,
      peerUri: "fleetgraph://control/*",
      ...(pair ?? (await agentKeyPair(this.agents.ca, agentId))),
    };
    const channel = this.agents.keep(createGrpcChannel(this.#address, tls), (opened) => opened.close());
    return grpcClient(InventoryServiceDefinition, channel);
  }

  /** A query about nodes, as the gateway would ask it. `fields`: below Node. */
  async nodes(subgraph: NodesSubgraph, ids: string[], fields: string, role: Role | null = "viewer"): Promise<ExecutionResult> {
    return subgraph.handler.execute({
      query: `query ($nodes: [_Any!]!) { _entities(representations: $nodes) { ... on Node { id ${fields} } } }`,
      variables: { nodes: ids.map((id) => ({ __typename: "Node", id })) },
      headers: await this.headers(role),
    });
  }

  /** A subscription as the gateway would open it; ended with the fleet, if not before. */
  async subscribe(
    subgraph: NodesSubgraph,
    query: string,
    variables: Record<string, unknown> = {},
  ): Promise<AsyncIterableIterator<ExecutionResult>> {
    const events = subgraph.handler.subscribe({ query, variables, headers: await this.headers("viewer") });
    return this.agents.keep(events, () => events.return?.());
  }

  async headers(role: Role | null): Promise<Record<string, string>> {
    if (role === null) return {};
    return { authorization: `Bearer ${await this.#issuer.issue({ subject: role, role, ttlSeconds: 600 })}` };
  }

  /** The hardware of one node; throws where there were errors. */
  // biome-ignore lint/suspicious/noExplicitAny: what comes back is what the test asked for
  async hardware(subgraph: NodesSubgraph, id: string, fields: string): Promise<any> {
    const { data, errors } = await this.nodes(subgraph, [id], `hardware { ${fields} }`);
    if (errors) throw new Error(JSON.stringify(errors));
    return (data as { _entities: Array<{ hardware: unknown }> })._entities[0]?.hardware;
  }

  close(): Promise<void> {
    return this.agents.close();
  }
}

async function temporaryDatabase(agents: AgentFleet): Promise<string> {
  const url = new URL(POSTGRESQL_URL);
  url.pathname = `/nodes_test_${randomBytes(6).toString("hex")}`;
  return agents.keep(url.href, async () => {
    const client = new Client({ connectionString: POSTGRESQL_URL });
    await client.connect();
    await client.query(`drop database if exists "${url.pathname.slice(1)}" with (force)`);
    await client.end();
  });
}
