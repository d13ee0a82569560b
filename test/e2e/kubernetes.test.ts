import { afterAll, beforeAll, expect, test } from "vitest";
import { ComputeFleet } from "../support/compute-fleet.ts";
import { makeNode, makePods, makeService } from "../support/kubernetes/objects.ts";
import { TestEtcd } from "../support/kubernetes/test-etcd.ts";
import { TestKubernetes } from "../support/kubernetes/test-kubernetes.ts";
import { describeWithPeers } from "../support/peers.ts";
import type { ResumingClient, WatchedEvent } from "../support/resuming-client.ts";

const CREATE = `mutation ($input: CreateKubernetesClusterInput!) { createKubernetesCluster(input: $input) {
  kubernetesCluster { id name isDefault enabled healthStatus lastConnectedAt nodeCount podCount contexts { server authentication } } } }`;
const CLUSTERS = `{ kubernetesClusters { totalCount nodes { id name healthStatus healthReason version nodeCount podCount lastConnectedAt
  nodes { nodes { name ready kubeletVersion } } pods(first: 5, labelSelector: "app") { nodes { name namespace phase nodeName } pageInfo { hasNextPage } }
  services(namespace: "default") { nodes { name type } } } } }`;
const HEALTH = `subscription ($after: String, $snapshot: Boolean) { kubernetesClusterEvents(after: $after, snapshot: $snapshot) {
  type cursor timestamp kubernetesCluster { name healthStatus lastConnectedAt podCount } } }`;
const PODS = `subscription ($id: ID!, $after: String, $snapshot: Boolean) {
  kubernetesPodEvents(clusterId: $id, namespace: "default", labelSelector: "app", after: $after, snapshot: $snapshot) {
    type cursor timestamp kubernetesPod { name phase } } }`;
const CHECKED_MS = 60_000;

describeWithPeers("two Kubernetes clusters in the graph", "kubernetes", () => {
  let etcd: TestEtcd;
  let first: TestKubernetes;
  let second: TestKubernetes;
  let fleet: ComputeFleet;
  let health: ResumingClient;
  const ids: Record<string, string> = {};

  beforeAll(async () => {
    etcd = await TestEtcd.start();
    first = await TestKubernetes.start({ etcd });
    second = await TestKubernetes.start({ etcd });
    fleet = await ComputeFleet.start({ hosts: [], environment: { FLEETGRAPH_KUBERNETES_CHECK_INTERVAL: "5s" } });
    health = fleet.watch(HEALTH, "kubernetesClusterEvents");
  }, 240_000);

  afterAll(async () => {
    await fleet?.stop();
    await Promise.all([first?.stop(), second?.stop()]);
    await etcd?.stop();
  });

  async function create(input: Record<string, unknown>): Promise<Record<string, unknown>> {
    const { kubernetesCluster } = (await fleet.query(CREATE, { input })).createKubernetesCluster;
    ids[kubernetesCluster.name] = kubernetesCluster.id;
    return kubernetesCluster;
  }

  // biome-ignore lint/suspicious/noExplicitAny: each test names what it asks for
  const clusters = async (): Promise<Record<string, any>> => {
    const { data } = await fleet.ask(CLUSTERS);
    // biome-ignore lint/suspicious/noExplicitAny: as above
    return Object.fromEntries(data?.kubernetesClusters.nodes.map((cluster: any) => [cluster.name, cluster]));
  };

  const toldOf = (name: string) => (events: readonly WatchedEvent[]) =>
    events.flatMap(({ kubernetesCluster }) => {
      const cluster = kubernetesCluster as { name: string; healthStatus: string; lastConnectedAt: string | null } | null;
      return cluster?.name === name ? [cluster] : [];
    });

  test("are registered by token and by client certificate, counted and listed", async () => {
    await Promise.all([makeNode(first, "worker-1"), makeNode(first, "worker-2"), makeNode(second, "other-1")]);
    await makePods(first, 7, { labels: { app: "web" } });
    await makeService(second, { namespace: "default", name: "front", port: 80 });
    await second.kubectl(["run", "by-hand", "--image=none", "--labels=app=hand"]);
    const certificate = await second.clientCertificate({ commonName: "operator", organizations: ["system:masters"] });
    const byToken = await create({ name: "first", kubeconfig: first.kubeconfig(), isDefault: true });
    expect(byToken).toMatchObject({
      ...{ isDefault: true, enabled: true, healthStatus: "UNKNOWN", lastConnectedAt: null, nodeCount: 0, podCount: 0 },
      contexts: [{ server: first.url, authentication: "TOKEN" }],
    });
    const encoded = Buffer.from(second.kubeconfig({ credentials: certificate })).toString("base64");
    const byCertificate = await create({ name: "second", kubeconfig: encoded });
    expect(byCertificate).toMatchObject({ isDefault: false, contexts: [{ authentication: "CLIENT_CERTIFICATE" }] });
    await expect.poll(clusters, { timeout: CHECKED_MS }).toMatchObject({
      first: { healthStatus: "HEALTHY", nodeCount: 2, podCount: 7, lastConnectedAt: expect.any(String) },
      second: { healthStatus: "HEALTHY", nodeCount: 1, podCount: 1 },
    });
    const { first: one, second: other } = await clusters();
    expect(one.version).toBe("v1.20.2");
    expect(one.nodes.nodes.map(({ name }: { name: string }) => name)).toEqual(["worker-1", "worker-2"]);
    expect(one.pods).toMatchObject({ nodes: { length: 5 }, pageInfo: { hasNextPage: true } });
    expect(other.pods.nodes).toMatchObject([{ name: "by-hand", namespace: "default" }]);
    expect(other.services.nodes.map(({ name }: { name: string }) => name)).toContain("front");
    const again = await fleet.ask(CREATE, { input: { name: "first", kubeconfig: first.kubeconfig() } });
    expect(again.errors?.[0]?.extensions).toMatchObject({ code: "INVALID_ARGUMENT", field: "name" });
  }, 180_000);

  test("a pod that is made and deleted is told live", async () => {
    const pods = fleet.watch(PODS, "kubernetesPodEvents", { id: ids["second"] });
    const told = (events: readonly WatchedEvent[]) =>
      events.map(({ type, kubernetesPod }) => `${type} ${(kubernetesPod as { name: string } | null)?.name ?? ""}`.trim());
    await pods.until((events) => told(events).includes("BOOKMARK"), CHECKED_MS);
    expect(told(pods.events)).toEqual(["ADDED by-hand", "BOOKMARK"]);
    await second.kubectl(["run", "short", "--image=none", "--labels=app=hand"]);
    await pods.until((events) => told(events).includes("ADDED short"), CHECKED_MS);
    await second.kubectl(["delete", "pod", "short", "--grace-period=0", "--wait=false", "--force"]);
    await pods.until((events) => told(events).includes("DELETED short"), CHECKED_MS);
    await expect.poll(async () => (await clusters()).second.podCount, { timeout: CHECKED_MS }).toBe(1);
    await pods.close();
  }, 120_000);

  test("one is stopped: it is UNAVAILABLE, its error stands beside the other's data, and it comes back by itself", async () => {
    const before = (await clusters()).first.lastConnectedAt;
    await first.kill();
    await health.until((events) => toldOf("first")(events).at(-1)?.healthStatus === "UNAVAILABLE", CHECKED_MS);
    expect(toldOf("first")(health.events).at(-1)?.lastConnectedAt).not.toBeNull();
    const { data, errors } = await fleet.ask(CLUSTERS);
    const [one, other] = ["first", "second"].map((name) =>
      data?.kubernetesClusters.nodes.find((cluster: { name: string }) => cluster.name === name),
    );
    expect(one).toMatchObject({ healthStatus: "UNAVAILABLE", healthReason: "ConnectionRefused", nodes: null, pods: null });
    expect(Date.parse(one.lastConnectedAt)).toBeGreaterThanOrEqual(Date.parse(before));
    expect(other).toMatchObject({ healthStatus: "HEALTHY", pods: { nodes: [{ name: "by-hand" }] } });
    expect(errors?.every(({ extensions }) => extensions?.code === "UNAVAILABLE")).toBe(true);
    await first.start();
    await health.until((events) => toldOf("first")(events).at(-1)?.healthStatus === "HEALTHY", 2 * CHECKED_MS);
    expect((await clusters()).first).toMatchObject({ healthStatus: "HEALTHY", podCount: 7, pods: { nodes: { length: 5 } } });
  }, 240_000);
});
