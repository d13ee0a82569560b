import { afterAll, beforeAll, expect, test } from "vitest";
import { authenticateByCertificate } from "../../../../platform/grpc/authenticate.ts";
import { ChannelPool } from "../../../../platform/grpc/channel-pool.ts";
import { ServerTls } from "../../../../platform/grpc/server-tls.ts";
import type { KeyPair } from "../../../../platform/tls/certificate-files.ts";
import { ClusterServiceDefinition } from "../../../../schema/generated/proto/hypervisor/v1/cluster.ts";
import { agentKeyPair, temporaryCa } from "../../../support/certificates.ts";
import { type GrpcPair, grpcPair } from "../../../support/grpc-pair.ts";
import { until } from "../../../support/until.ts";

let home: Awaited<ReturnType<typeof temporaryCa>>;
let own: KeyPair;
let agents: GrpcPair[];
beforeAll(async () => {
  home = await temporaryCa();
  own = await home.ca.issueControl("nodes");
  agents = await Promise.all(["a", "b", "c"].map(agentServer));
});
afterAll(async () => {
  await Promise.all(agents.map((agent) => agent[Symbol.asyncDispose]()));
  await home.remove();
});

async function agentServer(id: string): Promise<GrpcPair> {
  const credentials = new ServerTls({
    ...(await agentKeyPair(home.ca, id)),
    caPem: home.ca.certificatePem,
    clientCertificates: "required",
  });
  return grpcPair(
    { getClusterInfo: async (_request, { fleet }) => ({ clusterName: `${id} serves ${JSON.stringify(fleet.identity)}` }) },
    { credentials, authenticate: authenticateByCertificate(home.ca, ["control"]) },
  );
}

const credentials = () => ({ caPem: home.ca.certificatePem, ...own });
const target = (index: number) => ({ address: agents[index]?.address ?? "", peerUri: `fleetgraph://agent/${"abc"[index]}` });

test("calls to one peer share a connection, calls to others do not", async () => {
  const pool = new ChannelPool({ credentials });
  using first = pool.lease(target(0));
  using second = pool.lease(target(0));
  using other = pool.lease(target(1));
  expect(first.channel).toBe(second.channel);
  expect(first.client(ClusterServiceDefinition)).toBe(second.client(ClusterServiceDefinition));
  expect(pool.size).toBe(2);
  expect((await first.client(ClusterServiceDefinition).getClusterInfo({})).clusterName).toBe('a serves {"kind":"control","name":"nodes"}');
  expect((await other.client(ClusterServiceDefinition).getClusterInfo({})).clusterName).toContain("b serves");
  pool.close();
});

test("a peer that is not the expected one at its address is refused", async () => {
  const pool = new ChannelPool({ credentials });
  using lease = pool.lease({ ...target(0), peerUri: "fleetgraph://agent/b" });
  await expect(lease.client(ClusterServiceDefinition).getClusterInfo({})).rejects.toMatchObject({ code: "UNAVAILABLE" });
  pool.close();
});

test("an idle connection is closed after a while, and opened again when it is needed", async () => {
  const pool = new ChannelPool({ credentials, idleMs: 30 });
  const lease = pool.lease(target(0));
  await lease.client(ClusterServiceDefinition).getClusterInfo({});
  lease.release();
  lease.release();
  await until(() => pool.size === 0, "the idle connection to be closed");
  using again = pool.lease(target(0));
  await again.client(ClusterServiceDefinition).getClusterInfo({});
  pool.close();
});

test("the least recently used idle connection makes room; without one the pool says it is full", async () => {
  const pool = new ChannelPool({ credentials, maxChannels: 2 });
  const [first, second] = [pool.lease(target(0)), pool.lease(target(1))];
  expect(() => pool.lease(target(2))).toThrow(expect.objectContaining({ code: "RESOURCE_EXHAUSTED" }));
  second.release();
  first.release();
  pool.lease(target(1)).release();
  using third = pool.lease(target(2));
  expect(pool.size).toBe(2);
  // The first one was used longest ago.
  using kept = pool.lease(target(1));
  expect(kept.channel).toBe(second.channel);
  await third.client(ClusterServiceDefinition).getClusterInfo({});
  pool.close();
});

test("after a renewal new calls use the new certificate, and running ones finish on the old connection", async () => {
  let current: KeyPair = own;
  const pool = new ChannelPool({ credentials: () => ({ caPem: home.ca.certificatePem, ...current }) });
  const before = pool.lease(target(0));
  await before.client(ClusterServiceDefinition).getClusterInfo({});
  current = await home.ca.issueControl("renewed");
  pool.renew();
  using after = pool.lease(target(0));
  expect((await after.client(ClusterServiceDefinition).getClusterInfo({})).clusterName).toContain("renewed");
  expect((await before.client(ClusterServiceDefinition).getClusterInfo({})).clusterName).toContain("nodes");
  before.release();
  await expect(before.client(ClusterServiceDefinition).getClusterInfo({})).rejects.toMatchObject({ code: "UNAVAILABLE" });
  pool.close();
});

test("a closed pool opens nothing", () => {
  const pool = new ChannelPool({ credentials });
  const lease = pool.lease(target(0));
  pool.close();
  lease.release();
  expect(() => pool.lease(target(0))).toThrow(expect.objectContaining({ code: "UNAVAILABLE" }));
});

test("a dropped connection serves those who hold it, and the next lease dials anew", async () => {
  const pool = new ChannelPool({ credentials });
  using held = pool.lease(target(0));
  pool.drop(target(0));
  using fresh = pool.lease(target(0));
  expect(fresh.channel).not.toBe(held.channel);
  expect((await held.client(ClusterServiceDefinition).getClusterInfo({})).clusterName).toContain("a serves");
  expect((await fresh.client(ClusterServiceDefinition).getClusterInfo({})).clusterName).toContain("a serves");
  pool.close();
});
