import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import { agentService } from "../../agent/grpc/agent-service.ts";
import { NO_USERS } from "../../agent/hardware/device-users.ts";
import { needsOf, type PartReading, partReaders } from "../../agent/hardware/parts.ts";
import type { HostChannel } from "../../agent/host/host-channel.ts";
import { LocalHost } from "../../agent/host/local.ts";
import { authenticateByCertificate } from "../../platform/grpc/authenticate.ts";
import { createGrpcChannel } from "../../platform/grpc/channel.ts";
import { grpcClient } from "../../platform/grpc/client.ts";
import { createGrpcServer } from "../../platform/grpc/server.ts";
import { ServerTls } from "../../platform/grpc/server-tls.ts";
import { createLogger } from "../../platform/observability/log.ts";
import { Metrics } from "../../platform/observability/metrics.ts";
import { CertificateAuthority } from "../../platform/tls/certificate-authority.ts";
import type { KeyPair } from "../../platform/tls/certificate-files.ts";
import { InventoryServiceDefinition } from "../../schema/generated/proto/hypervisor/v1/agent.ts";
import { ClusterServiceDefinition, NodeRole, NodeStatus } from "../../schema/generated/proto/hypervisor/v1/cluster.ts";
import { agentKeyPair } from "../support/certificates.ts";
import { Deployment } from "../support/deployment.ts";
import { percentile } from "../support/statistics.ts";

/**
 * Inventories through the gateway: `node --experimental-transform-types test/bench/node-inventory.ts [200]`, after `npm run build`. Clusters,
 * nodes, compute and gateway are processes of their own. 100 nodes report this machine's inventory; this process answers as the agent of 80 of
 * them, the other 20 are at an address that takes connections and says nothing, with leases that have not run
 * out. Budgets: one node under 100 ms (p99); 100 nodes under 500 ms.
 */
const ROUNDS = Number(process.argv[2] ?? 200);
const NODES = 100;
const UNREACHABLE = 20;
const STORED = `id hostname host { kernel operatingSystem hypervisor }
  hardware { cpu { model vendor sockets physicalCores threads caches { level type sizeBytes } microcode } memory { totalBytes swapTotalBytes }
    numa { id cpuList memoryTotalBytes } hugePages { sizeBytes total } virtualization { hardware iommu nested } vulnerabilities { name status } observedAt }
  pciDevices { address kind className vendorName deviceName driver numaNode link { speedGts width } iommuGroup iommuGroupMembers
    passthrough { possible reason } user { guestName } sriov { totalVfs functions { address } } interfaces }
  usbControllers { pciAddress buses { number speedMbps } } usbDevices { port vendorName productName className speedMbps }
  network { nics { ...Interface } bridges { ...Interface bridge { members { name } } } bonds { ...Interface } vlans { ...Interface } others { ...Interface } }
  disks { name transport sizeBytes model serial firmware rotational smart { health } partitions { name sizeBytes fileSystem { type mountPoints } } pools }
  inventoryStatus { part observedAt unavailable { field reason } }`;
const INTERFACE =
  "fragment Interface on NodeNetworkInterface { name mac state speedMbps mtu driver addresses { address prefixLength } master }";
const LIVE = "hardware { memory { usedBytes usedPercent } }";

const log = createLogger({ name: "bench", level: "silent" });
const host: HostChannel = new LocalHost();
const readings = await readAll();
const [known, sockets] = [new Set<string>(), new Set<Socket>()];
const deaf = createServer((socket) => sockets.add(socket.on("error", () => undefined)));
await new Promise<void>((resolve) => deaf.listen(0, "127.0.0.1", resolve));
const deafPort = (deaf.address() as { port: number }).port;
const servers: Array<{ stop(graceMs: number): Promise<void> }> = [];

const deployment = await Deployment.create({ flags: ["--lease-ttl", "3600"] });
// Also where something fails.
process.once("exit", () => {
  for (const part of Object.values(deployment.parts)) void part.kill();
});
await deployment.start();
const ca = await CertificateAuthority.open(join(deployment.directory, "control", "ca"));
for (let index = 0; index < NODES; index += 1) await joinNode(index);
const [first = ""] = known;
await measure(`one node, all that is stored`, ROUNDS, `query ($id: ID!) { node(id: $id) { ${STORED} } } ${INTERFACE}`);
await measure(`one node, with live values`, ROUNDS, `query ($id: ID!) { node(id: $id) { ${STORED} ${LIVE} } } ${INTERFACE}`);
const hundred = (fields: string) => `{ nodes(first: 100) { nodes { ${fields} } } } ${INTERFACE}`;
await measure(`${NODES} nodes, all that is stored`, ROUNDS / 10, hundred(STORED));
const summary =
  "id hostname pciDevices(kind: GPU) { address deviceName } disks { name sizeBytes smart { health } } hardware { cpu { model threads } memory { totalBytes usedBytes } unavailable { field reason } }";
await measure(
  `${NODES} nodes, ${UNREACHABLE} unreachable, with live values, the first time`,
  0,
  `{ nodes(first: 100) { nodes { ${summary} } } }`,
);
await measure(
  `${NODES} nodes, ${UNREACHABLE} unreachable, with live values`,
  ROUNDS / 10,
  `{ nodes(first: 100) { nodes { ${summary} } } }`,
);
await deployment.stop();
for (const server of servers) await server.stop(0);
for (const socket of sockets) socket.destroy();
deaf.close();

async function readAll(): Promise<PartReading[]> {
  const readers = partReaders({ know: () => undefined, readings: new Map() });
  const snapshot = await host.snapshot(needsOf(readers));
  const sources = { users: async () => NO_USERS, libvirt: async () => null };
  return Promise.all(readers.map((reader) => reader.read(snapshot, sources)));
}

/** A node with an agent of its own name, and its inventory. */
async function joinNode(index: number): Promise<void> {
  const pair = await agentKeyPair(ca, `agent-${index}`);
  const reachable = index < NODES - UNREACHABLE;
  const agentPort = reachable ? await serveAgent(pair) : deafPort;
  const channel = createGrpcChannel(deployment.controlAddress, { caPem: ca.certificatePem, peerUri: "fleetgraph://control/*", ...pair });
  const inventoryChannel = createGrpcChannel(deployment.inventoryAddress, {
    caPem: ca.certificatePem,
    peerUri: "fleetgraph://control/*",
    ...pair,
  });
  const cluster = grpcClient(ClusterServiceDefinition, channel);
  const where = {
    hostname: `host-${index}`,
    ip: "127.0.0.1",
    port: agentPort,
    role: NodeRole.WORKER,
    supportedInstanceTypes: ["vm"],
    capacity: { cpuCores: 8, memoryBytes: 2 ** 34, diskBytes: 2 ** 40, gpuCount: 0 },
  };
  const { nodeId } = await cluster.registerNode(where);
  known.add(nodeId);
  await cluster.heartbeat({ nodeId, status: NodeStatus.READY });
  const inventory = grpcClient(InventoryServiceDefinition, inventoryChannel);
  for (const { part, digest, observedAt, content } of readings)
    await inventory.reportInventory({ nodeId, part, digest, observedAt, ...content });
  channel.close();
  inventoryChannel.close();
}

async function serveAgent(pair: KeyPair): Promise<number> {
  const credentials = new ServerTls({ ...pair, caPem: ca.certificatePem, clientCertificates: "required" });
  const server = createGrpcServer({ log, metrics: new Metrics(), credentials, authenticate: authenticateByCertificate(ca) });
  server.addAll([agentService((nodeId) => (known.has(nodeId) ? host : null))]);
  servers.push(server);
  return server.listen("127.0.0.1:0");
}

/** Rounds after one that warms up, one after the other; 0: that one alone. */
async function measure(what: string, rounds: number, query: string): Promise<void> {
  const took: number[] = [];
  let answer = "";
  for (let round = 0; round <= rounds; round += 1) {
    const began = performance.now();
    const { data, errors } = await deployment.query(query, query.startsWith("query") ? { id: first } : {}, 30_000);
    if (errors) throw new Error(JSON.stringify(errors).slice(0, 2000));
    if (round > 0 || rounds === 0) took.push(performance.now() - began);
    answer = JSON.stringify(data);
  }
  const [p50, p99] = [percentile(took, 0.5), percentile(took, 0.99)];
  const unread = answer.match(/"usedBytes":null/g)?.length ?? 0;
  const size = `${took.length} of ${Math.round(answer.length / 1024)} KiB, ${unread} nodes without live values`;
  process.stdout.write(`${what}: p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms (${size})\n`);
}
