import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type ChannelTls, createGrpcChannel } from "../../platform/grpc/channel.ts";
import { grpcClient } from "../../platform/grpc/client.ts";
import { ClusterServiceDefinition, NodeStatus } from "../../schema/generated/proto/hypervisor/v1/cluster.ts";
import { FLEETGRAPH } from "../support/built-program.ts";
import { NetworkNamespace } from "../support/network-namespace.ts";
import { freePorts, Part } from "../support/part.ts";
import { describeWithPeers } from "../support/peers.ts";
import { ResumingClient, type WatchedEvent } from "../support/resuming-client.ts";
import { until } from "../support/until.ts";

const run = promisify(execFile);
const LEASE = ["--lease-ttl", "5s", "--heartbeat-interval", "1s"];
const NODES = `{ nodes(filter: { name: "second-host" }) { nodes {
  id status availability conditions { type status reason }
  hardware { cpu { threads } memory { totalBytes usedBytes } unavailable { field reason } }
} } }`;
const WATCH = `subscription ($after: String, $snapshot: Boolean) {
  nodeEvents(after: $after, snapshot: $snapshot, filter: { name: "second-host" }) { type cursor node { id status } }
}`;

interface NodeAnswer {
  id: string;
  status: string;
  availability: string;
  conditions: Array<{ type: string; status: string; reason: string }>;
  hardware: {
    cpu: { threads: number | null };
    memory: { totalBytes: number | null; usedBytes: number | null };
    unavailable: Array<{ field: string; reason: string }>;
  };
}

describeWithPeers("a second host, in a network of its own", "network-namespaces", () => {
  let directory: string;
  let host: NetworkNamespace;
  let fleet: Part;
  let agent: Part;
  let url: string;
  let control: string;
  let token: string;
  let joinToken: string;
  let watch: ResumingClient;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "fleetgraph-second-host-"));
    host = await NetworkNamespace.create(0);
    const [port, grpcPort, controlPort] = (await freePorts(3)) as [number, number, number];
    url = `http://127.0.0.1:${port}`;
    control = `${host.hostAddress}:${controlPort}`;
    fleet = new Part({
      name: "up",
      args: [
        ...["up", "--no-local-agent", "--data", join(directory, "control"), "--port", `${port}`, "--grpc-port", `${grpcPort}`],
        ...["--control-host", host.hostAddress, "--control-port", `${controlPort}`, ...LEASE],
      ],
      logDirectory: directory,
      ready: async () => (await fetch(`${url}/readyz`)).ok,
    });
    await fleet.start();
    token = await fleetgraph("token", "--role", "admin");
    joinToken = await newJoinToken();
    watch = new ResumingClient({ url: watchUrl(), token, query: WATCH, field: "nodeEvents" });
  });

  afterAll(async () => {
    await watch?.close();
    await agent?.stop();
    await fleet?.stop();
    await host?.remove();
    await rm(directory, { recursive: true, force: true });
  });

  function watchUrl(): string {
    return `${url.replace("http", "ws")}/graphql`;
  }

  async function fleetgraph(...args: string[]): Promise<string> {
    const { stdout } = await run(process.execPath, [FLEETGRAPH, ...args, "--data", join(directory, "control")], { timeout: 30_000 });
    return stdout.trim();
  }

  function newJoinToken(): Promise<string> {
    return fleetgraph("token", "--join", "--control-advertise", control);
  }

  function agentArgs(name: string, join_: string): string[] {
    const state = join(directory, name);
    return ["agent", "--data", state, "--join", join_, "--hostname", name, "--agent-host", host.address, "--agent-port", "50052"];
  }

  async function secondHost(): Promise<NodeAnswer | undefined> {
    const response = await fetch(`${url}/graphql`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
      body: JSON.stringify({ query: NODES }),
    });
    const answer = (await response.json()) as { data: { nodes: { nodes: NodeAnswer[] } } };
    return answer.data.nodes.nodes[0];
  }

  /** The statuses that the watch has told, without what repeats. */
  function statuses(): Array<string | undefined> {
    const all = watch.events.filter((event) => event.type !== "BOOKMARK").map(statusOf);
    return all.filter((status, index) => status !== all[index - 1]);
  }

  test("joins by token and is seen, with what only its agent can tell", async () => {
    agent = new Part({
      name: "second-host",
      args: agentArgs("second-host", joinToken),
      logDirectory: directory,
      ready: async () => {
        const { cpu, memory } = (await secondHost())?.hardware ?? {};
        return typeof cpu?.threads === "number" && typeof memory?.usedBytes === "number";
      },
      prefix: host.prefix,
    });
    await agent.start();
    expect(await secondHost()).toMatchObject({ status: "READY", availability: "ONLINE" });
  });

  test("turns UNKNOWN when it is cut off, keeps what was stored of it, and comes back as the same node", async () => {
    const before = (await secondHost()) as NodeAnswer;
    await watch.until((events) => events.some((event) => statusOf(event) === "READY"), 30_000);
    await host.cut();
    await watch.until((events) => statusOf(events.findLast(isChange)) === "UNKNOWN", 30_000);
    // The nodes subgraph follows the nodes, too, and may hear of it a moment later.
    const isTold = ({ hardware }: NodeAnswer) =>
      hardware.unavailable.some(({ field, reason }) => field === "memory.usedBytes" && reason === "NODE_OFFLINE");
    let lost = (await secondHost()) as NodeAnswer;
    await until(
      async () => {
        lost = (await secondHost()) as NodeAnswer;
        return isTold(lost);
      },
      "the node's readings to be known as offline",
      30_000,
    );
    expect(lost).toMatchObject({ status: "UNKNOWN", availability: "OFFLINE" });
    expect(lost.conditions).toContainEqual(expect.objectContaining({ type: "Ready", status: "Unknown", reason: "LeaseExpired" }));
    expect(lost.hardware.cpu.threads).toBe(before.hardware.cpu.threads);
    expect(lost.hardware.memory.usedBytes).toBeNull();
    expect(lost.hardware.unavailable).toContainEqual({ field: "memory.usedBytes", reason: "NODE_OFFLINE" });
    await host.mend();
    await watch.until((events) => statusOf(events.findLast(isChange)) === "READY", 60_000);
    expect(statuses().slice(-3)).toEqual(["READY", "UNKNOWN", "READY"]);
    expect((await secondHost())?.id).toBe(before.id);
  });

  test("turns UNKNOWN when its agent is stopped, READY when it is back; a client that was away learns exactly that", async () => {
    const missed = watch.events.at(-1)?.cursor as string;
    await watch.close();
    await agent.stop();
    const present = new ResumingClient({ url: watchUrl(), token, query: WATCH, field: "nodeEvents" });
    await present.until((events) => statusOf(events.findLast(isChange)) === "UNKNOWN", 30_000);
    await agent.start();
    await present.until((events) => statusOf(events.findLast(isChange)) === "READY", 30_000);
    await present.close();
    watch = new ResumingClient({ url: watchUrl(), token, query: WATCH, field: "nodeEvents", after: missed });
    // Another change of it may have come in between, such as a condition's.
    const learnt = () =>
      ["READY", ...watch.events.filter(isChange).map(statusOf)].filter((status, index, all) => status !== all[index - 1]);
    await watch.until(() => learnt().length >= 3, 30_000);
    expect(learnt()).toEqual(["READY", "UNKNOWN", "READY"]);
  });

  test("a token that was used is refused to another host", async () => {
    const [command, ...args] = [...host.prefix, process.execPath, FLEETGRAPH, ...agentArgs("thief", joinToken)] as [string, ...string[]];
    const refusal = await run(command, args, { timeout: 60_000 }).catch((error: { code: number; stderr: string }) => error);
    expect(refusal).toMatchObject({ code: 1, stderr: expect.stringMatching(/token.*used/i) });
  });

  test("an agent without a certificate is refused", async () => {
    const client = clusterService({ caPem: await credential("second-host", "ca-certificate.pem") });
    await expect(client.call(await nodeId())).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
    client.close();
  });

  test("the certificate of another host is refused", async () => {
    const other = new Part({
      name: "other-host",
      args: agentArgs("other-host", await newJoinToken()).with(-1, "50062"),
      logDirectory: directory,
      ready: async () => (await credential("other-host", "agent.pem")) !== "",
      prefix: host.prefix,
    });
    await other.start();
    const pem = await credential("other-host", "agent.pem");
    const caPem = await credential("other-host", "ca-certificate.pem");
    const client = clusterService({ caPem, certificatePem: pem, keyPem: pem });
    try {
      await expect(client.call(await nodeId())).rejects.toMatchObject({ code: "FORBIDDEN" });
    } finally {
      client.close();
      await other.stop();
    }
  });

  async function nodeId(): Promise<string> {
    return ((await secondHost()) as NodeAnswer).id;
  }

  function credential(name: string, file: string): Promise<string> {
    return readFile(join(directory, name, "agent", file), "utf8");
  }

  /** A heartbeat in the name of a node, over the agents' port. */
  function clusterService(tls: ChannelTls): { call: (nodeId: string) => Promise<unknown>; close: () => void } {
    const channel = createGrpcChannel(control, { ...tls, peerUri: "fleetgraph://control/*" });
    const client = grpcClient(ClusterServiceDefinition, channel);
    return { call: (id) => client.heartbeat({ nodeId: id, status: NodeStatus.NOT_READY }), close: () => channel.close() };
  }
});

function isChange(event: WatchedEvent): boolean {
  return event.type !== "BOOKMARK";
}

function statusOf(event: WatchedEvent | undefined): string | undefined {
  return (event?.node as { status: string } | null | undefined)?.status;
}
