import { mkdtemp, rm } from "node:fs/promises";
import os, { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ControlPlaneConnection } from "../../../agent/control-plane/connection.ts";
import { loadCredentials } from "../../../agent/identity/credentials.ts";
import { LocalIssuer } from "../../../platform/auth/local-issuer.ts";
import { authenticateByCertificate } from "../../../platform/grpc/authenticate.ts";
import { createGrpcChannel } from "../../../platform/grpc/channel.ts";
import { grpcClient } from "../../../platform/grpc/client.ts";
import { createGrpcServer, type GrpcServer } from "../../../platform/grpc/server.ts";
import { ServerTls } from "../../../platform/grpc/server-tls.ts";
import { createLogger } from "../../../platform/observability/log.ts";
import { Metrics } from "../../../platform/observability/metrics.ts";
import { SecretKeys } from "../../../platform/secrets/secret-keys.ts";
import { CertificateAuthority } from "../../../platform/tls/certificate-authority.ts";
import { ClusterServiceDefinition, NodeStatus } from "../../../schema/generated/proto/hypervisor/v1/cluster.ts";
import { type ClustersSubgraph, issueJoinToken, startClustersSubgraph } from "../../../subgraphs/clusters/main.ts";
import { InProcessBus } from "../../../subgraphs/kit/events/bus.ts";
import { TestAgentHome } from "../../support/test-agent.ts";
import { until } from "../../support/until.ts";

const log = createLogger({ name: "clusters", level: process.env.TEST_LOG ? "debug" : "silent" });
const NODES = "{ nodes { nodes { id hostname status agentId capacity { cpuCores memoryBytes } conditions { type status } } } }";

interface NodeAnswer {
  id: string;
  hostname: string;
  status: string;
  agentId: string;
  capacity: { cpuCores: number; memoryBytes: number };
  conditions: Array<{ type: string; status: string }>;
}

/** The clusters subgraph on an agents' port, as a process has it. */
class Clusters {
  subgraph!: ClustersSubgraph;
  authority!: CertificateAuthority;
  #server!: GrpcServer;
  #issuer!: LocalIssuer;
  #port = 0;

  constructor(readonly directory: string) {}

  get address(): string {
    return `127.0.0.1:${this.#port}`;
  }

  get databaseUrl(): string {
    return `sqlite:${join(this.directory, "clusters.db")}`;
  }

  async start(): Promise<void> {
    this.authority = await CertificateAuthority.open(join(this.directory, "ca"));
    this.#issuer = await LocalIssuer.open(join(this.directory, "keys"));
    this.subgraph = await startClustersSubgraph({
      databaseUrl: this.databaseUrl,
      bus: new InProcessBus(),
      verifier: this.#issuer.verifier(),
      authority: this.authority,
      secrets: await SecretKeys.open(join(this.directory, "secrets")),
      log,
      metrics: new Metrics(),
      config: { heartbeatIntervalSeconds: 1, leaseTtlSeconds: 3, sweepIntervalMs: 100, livenessIntervalMs: 500 },
    });
    const own = await this.authority.issueControl("clusters");
    this.#server = createGrpcServer({
      log,
      metrics: new Metrics(),
      authenticate: authenticateByCertificate(this.authority),
      credentials: new ServerTls({ ...own, caPem: this.authority.certificatePem, clientCertificates: "optional" }),
    });
    this.#server.addAll(this.subgraph.agentServices());
    this.#port = await this.#server.listen(this.address);
  }

  async stop(): Promise<void> {
    await this.#server.stop(0);
    await this.subgraph.stop(0);
  }

  async joinToken(ttlSeconds = 60): Promise<string> {
    const { id, secret } = await issueJoinToken(this.databaseUrl, log, { ttlSeconds, uses: 1 });
    const content = { id, secret, ca: this.authority.fingerprint, address: this.address };
    return `fgj_${Buffer.from(JSON.stringify(content)).toString("base64url")}`;
  }

  async execute<T>(query: string): Promise<T> {
    const token = await this.#issuer.issue({ subject: "test", role: "admin", ttlSeconds: 600 });
    const { data, errors } = await this.subgraph.handler.execute({ query, headers: { authorization: `Bearer ${token}` } });
    expect(errors).toBeUndefined();
    return data as T;
  }

  async nodes(): Promise<NodeAnswer[]> {
    return (await this.execute<{ nodes: { nodes: NodeAnswer[] } }>(NODES)).nodes.nodes;
  }

  async untilStatus(status: string): Promise<void> {
    await until(async () => (await this.nodes())[0]?.status === status, status);
  }
}

let clusters: Clusters;
let home: TestAgentHome;

beforeEach(async () => {
  clusters = new Clusters(await mkdtemp(join(tmpdir(), "fleetgraph-clusters-")));
  await clusters.start();
  home = await TestAgentHome.create();
});

afterEach(async () => {
  await home[Symbol.asyncDispose]();
  await clusters.stop();
  await rm(clusters.directory, { recursive: true, force: true });
});

describe("an agent with the clusters subgraph", () => {
  it("puts this machine into the graph, is UNKNOWN after it stopped, and READY when it is back", async () => {
    const agent = await home.start({ joinToken: await clusters.joinToken() });
    await clusters.untilStatus("READY");
    const [node] = await clusters.nodes();
    expect(node).toMatchObject({
      id: agent.nodeIds[0],
      hostname: "host-1",
      agentId: agent.agentId,
      capacity: { cpuCores: os.cpus().length, memoryBytes: os.totalmem() },
    });
    expect(node?.conditions).toContainEqual({ type: "NetworkUnavailable", status: "False" });
    await agent.stop();
    await clusters.untilStatus("UNKNOWN");
    const again = await home.start();
    await clusters.untilStatus("READY");
    expect(again.nodeIds).toEqual(agent.nodeIds);
    expect(await clusters.nodes()).toHaveLength(1);
  });

  it("comes back by itself after the control plane was restarted", async () => {
    const agent = await home.start({ joinToken: await clusters.joinToken() });
    await clusters.untilStatus("READY");
    await clusters.stop();
    await clusters.start();
    const startedAt = performance.now();
    await until(async () => {
      const [node] = await clusters.nodes();
      return node?.status === "READY" && (await heardSince(startedAt));
    }, "a heartbeat");
    expect((await clusters.nodes()).map(({ id }) => id)).toEqual(agent.nodeIds);
  });

  it("is refused with a used and with an expired token", async () => {
    const used = await clusters.joinToken();
    await home.start({ joinToken: used });
    await using thief = await TestAgentHome.create();
    await expect(thief.start({ joinToken: used })).rejects.toMatchObject({ code: "UNAUTHENTICATED", reason: "JoinTokenUsed" });
    const expired = await clusters.joinToken(1);
    await new Promise((resolve) => setTimeout(resolve, 1100));
    await expect(thief.start({ joinToken: expired })).rejects.toMatchObject({ code: "UNAUTHENTICATED", reason: "JoinTokenExpired" });
  });

  it("can neither report nor take over another agent's node, and nobody can without a certificate", async () => {
    const agent = await home.start({ joinToken: await clusters.joinToken() });
    await using other = await TestAgentHome.create();
    await other.start({ joinToken: await clusters.joinToken(), hostname: "host-2" });
    const stolen = (await loadCredentials(other.stateDir))!;
    const connection = new ControlPlaneConnection(clusters.address, stolen.caPem, stolen);
    const nodeId = agent.nodeIds[0]!;
    const heartbeat = {
      nodeId,
      status: NodeStatus.NOT_READY,
      conditions: [],
      allocated: undefined,
      acknowledgedCommandIds: [],
      sentAt: new Date(),
    };
    await expect(connection.main.cluster.heartbeat(heartbeat)).rejects.toMatchObject({ code: "FORBIDDEN", reason: "NotYourNode" });
    connection.close();
    await using thief = await TestAgentHome.create();
    await expect(thief.start({ joinToken: await clusters.joinToken(), hostname: "host-1" })).rejects.toMatchObject({
      reason: "HostnameTaken",
    });
    const channel = createGrpcChannel(clusters.address, { caPem: stolen.caPem, peerUri: "fleetgraph://control/clusters" });
    const anonymous = grpcClient(ClusterServiceDefinition, channel);
    await expect(anonymous.heartbeat(heartbeat)).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
    channel.close();
  });

  it("is kept out after its node was deregistered, until it is admitted again", async () => {
    const agent = await home.start({ joinToken: await clusters.joinToken() });
    await clusters.untilStatus("READY");
    const id = agent.nodeIds[0]!;
    await clusters.execute(`mutation { deregisterNode(input: { nodeId: "${id}" }) { node { id } } }`);
    await agent.stop();
    const barred = await home.start();
    expect(barred.nodeIds).toEqual([id]);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    expect((await clusters.nodes()).map(({ status }) => status)).not.toContain("READY");
    await barred.stop();
    await clusters.execute(`mutation { admitNode(input: { nodeId: "${id}" }) { node { id } } }`);
    await home.start();
    await clusters.untilStatus("READY");
    expect((await clusters.nodes())[0]?.id).toBe(id);
  });
});

/** True once the subgraph that was started then has heard from the node. */
async function heardSince(startedAt: number): Promise<boolean> {
  const { nodes } = await clusters.execute<{ nodes: { nodes: Array<{ lastSeen: string }> } }>("{ nodes { nodes { lastSeen } } }");
  const lastSeen = Date.parse(nodes.nodes[0]?.lastSeen ?? "");
  return lastSeen > performance.timeOrigin + startedAt;
}
