import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { formatJoinToken } from "../../../cli/parts/join-token.ts";
import { LocalIssuer } from "../../../platform/auth/local-issuer.ts";
import { authenticateByCertificate } from "../../../platform/grpc/authenticate.ts";
import { createGrpcServer } from "../../../platform/grpc/server.ts";
import { ServerTls } from "../../../platform/grpc/server-tls.ts";
import { createLogger } from "../../../platform/observability/log.ts";
import { Metrics } from "../../../platform/observability/metrics.ts";
import { SecretKeys } from "../../../platform/secrets/secret-keys.ts";
import { CertificateAuthority } from "../../../platform/tls/certificate-authority.ts";
import { issueJoinToken, startClustersSubgraph } from "../../../subgraphs/clusters/main.ts";
import { InProcessBus } from "../../../subgraphs/kit/events/bus.ts";
import { startNodesSubgraph } from "../../../subgraphs/nodes/main.ts";
import { openCapturedHost } from "../../support/captured-host.ts";
import { TestAgentHome } from "../../support/test-agent.ts";
import { until } from "../../support/until.ts";

const log = createLogger({ name: "test", level: "silent" });
const closers: Array<() => unknown> = [];

beforeEach(() => {
  closers.length = 0;
});

afterEach(async () => {
  for (const close of closers.reverse()) await close();
});

/** Both subgraphs on one agents' port, as `fleetgraph up` has them. */
async function startControlPlane() {
  const dir = await mkdtemp(join(tmpdir(), "fleetgraph-plane-"));
  closers.push(() => rm(dir, { recursive: true, force: true }));
  const authority = await CertificateAuthority.open(join(dir, "ca"));
  const issuer = await LocalIssuer.open(join(dir, "keys"));
  const pair = await authority.issueControl("up", ["127.0.0.1"]);
  const databaseUrl = `sqlite:${join(dir, "clusters.db")}`;
  const bus = new InProcessBus();
  const shared = { verifier: issuer.verifier(), log, metrics: new Metrics() };
  const secrets = await SecretKeys.open(join(dir, "secrets"));
  const config = { heartbeatIntervalSeconds: 1, leaseTtlSeconds: 2, sweepIntervalMs: 100, livenessIntervalMs: 200 };
  const clusters = await startClustersSubgraph({ ...shared, databaseUrl, bus, authority, secrets, config });
  closers.push(() => clusters.stop(0));
  const address = Promise.withResolvers<string>();
  const nodes = await startNodesSubgraph({
    ...shared,
    databaseUrl: `sqlite:${join(dir, "nodes.db")}`,
    bus,
    clustersAddress: address.promise,
    computeAddress: address.promise,
    secrets,
    credentials: () => ({ ...pair, caPem: authority.certificatePem }),
  });
  closers.push(() => nodes.stop(0));
  const credentials = new ServerTls({ ...pair, caPem: authority.certificatePem, clientCertificates: "optional" });
  const port = createGrpcServer({ log, metrics: new Metrics(), credentials, authenticate: authenticateByCertificate(authority) });
  port.addAll([...clusters.agentServices(), ...nodes.agentServices()]);
  const controlPlane = `127.0.0.1:${await port.listen("127.0.0.1:0")}`;
  closers.push(() => port.stop(0));
  address.resolve(controlPlane);
  const token = await issuer.issue({ subject: "admin", role: "admin", ttlSeconds: 600 });
  const headers = { authorization: `Bearer ${token}` };
  const issued = await issueJoinToken(databaseUrl, log, { ttlSeconds: 60, uses: 1 });
  const joinToken = formatJoinToken({ ...issued, caFingerprint: authority.fingerprint, address: controlPlane });
  return { clusters, nodes, headers, joinToken };
}

describe("the nodes subgraph with the clusters subgraph and an agent", () => {
  it("shows a host's hardware while it is up, while it is down, when it is back, and not once it is gone", async () => {
    await using captured = await openCapturedHost("aarch64-two-sockets-numa");
    const { clusters, nodes, headers, joinToken } = await startControlPlane();
    const home = await TestAgentHome.create();
    closers.push(() => home[Symbol.asyncDispose]());
    const agent = await home.start({ joinToken, host: captured.host });
    const [nodeId = ""] = agent.nodeIds;

    const hardware = async () => {
      const { data, errors } = await nodes.handler.execute({
        query: `query ($id: ID!) { _entities(representations: [{ __typename: "Node", id: $id }]) { ... on Node { hardware {
          cpu { architecture } memory { totalBytes usedBytes } numa { id cpuList memoryFreeBytes } observedAt unavailable { field reason } } } } }`,
        variables: { id: nodeId },
        headers,
      });
      expect(errors).toBeUndefined();
      // biome-ignore lint/suspicious/noExplicitAny: what comes back is what was asked for
      return (data as any)._entities[0].hardware;
    };
    const usageReason = async () =>
      (await hardware()).unavailable.find(({ field }: { field: string }) => field === "memory.usedBytes")?.reason ?? "none";

    await until(async () => (await hardware())?.observedAt != null, "the inventory");
    await until(async () => (await hardware()).memory.usedBytes > 0, "the use of memory");
    const up = await hardware();
    expect(up.cpu.architecture).toBe("aarch64");
    expect(up.numa.length).toBeGreaterThan(1);
    expect(up.numa[0].memoryFreeBytes).toBeGreaterThan(0);

    await agent.stop();
    await until(async () => (await usageReason()) === "NODE_OFFLINE", "the lease to run out");
    const down = await hardware();
    expect(down.memory).toEqual({ totalBytes: up.memory.totalBytes, usedBytes: null });
    expect(down.numa.map(({ cpuList }: { cpuList: string }) => cpuList)).toEqual(
      up.numa.map(({ cpuList }: { cpuList: string }) => cpuList),
    );

    await home.start({ host: captured.host });
    await until(async () => (await hardware()).memory.usedBytes > 0, "the host to be back");

    const answer = await clusters.handler.execute({
      query: "mutation ($id: ID!) { deregisterNode(input: { nodeId: $id }) { __typename } }",
      variables: { id: nodeId },
      headers,
    });
    expect(answer.errors).toBeUndefined();
    await until(async () => (await hardware()) === null, "the hardware to be dropped");
  });
});
