import { createServer } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { systemContext } from "../../../../platform/request-context.ts";
import { DEFAULT_HEALTH_CHECK_CONFIG } from "../../../../subgraphs/clusters/services/kubernetes/health/health-checks.ts";
import { ClustersFleet, type ClustersReplica } from "../../../support/clusters-fleet.ts";
import { silent as silentLog } from "../../../support/event-log-variants.ts";
import { makeNode, makeService } from "../../../support/kubernetes/objects.ts";
import { listen, NotKubernetes } from "../../../support/kubernetes/odd-servers.ts";
import { TestKubernetes } from "../../../support/kubernetes/test-kubernetes.ts";
import { machineAddress, TestPrometheus } from "../../../support/kubernetes/test-prometheus.ts";
import { KubernetesClustersUser } from "../../../support/kubernetes-clusters.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import { until } from "../../../support/until.ts";

const kubernetes = { ...DEFAULT_HEALTH_CHECK_CONFIG, checkIntervalMs: 1_000, confirmMs: 200 };
const REDISCOVER = "mutation ($input: RediscoverPrometheusInput!) { rediscoverPrometheus(input: $input) { clusterId taskStartedAt } }";
const PROMETHEUS = `query ($id: ID!) { kubernetesCluster(id: $id) { prometheus { url source state
  lastRun { startedAt finishedAt outcome message } candidates { namespace name exposure url error } } } }`;

interface Prometheus {
  url: string | null;
  source: string | null;
  state: string;
  lastRun: { startedAt: string; finishedAt: string | null; outcome: string | null; message: string } | null;
  candidates: Array<{ namespace: string; name: string; exposure: string; url: string; error: string | null }>;
}

describeWithPeers("the Prometheus of a real cluster", ["kubernetes", "prometheus"], () => {
  let cluster: TestKubernetes;
  let real: TestPrometheus;
  let fleet: ClustersFleet;
  let replicas: ClustersReplica[];
  let admin: KubernetesClustersUser;
  let viewers: KubernetesClustersUser[];
  let id: string;
  /** Takes connections and says nothing: what is behind a Service that keeps a run busy. */
  const silent = createServer((socket) => socket.on("error", () => undefined).resume());

  beforeAll(async () => {
    [cluster, real] = await Promise.all([TestKubernetes.start(), TestPrometheus.start({ address: machineAddress() })]);
    await makeNode(cluster, "one", { addresses: [machineAddress()] });
    for (const name of ["monitoring", "other"]) await cluster.mustRequest("POST", "/api/v1/namespaces", { metadata: { name } });
    fleet = await ClustersFleet.open("SQLite");
    replicas = [await fleet.replica({ kubernetes }), await fleet.replica({ kubernetes })];
    viewers = replicas.map((replica) => new KubernetesClustersUser(fleet, replica, "viewer"));
    admin = new KubernetesClustersUser(fleet, replicas[0] as ClustersReplica);
  });
  afterAll(async () => {
    await fleet?.close();
    await real?.stop();
    await cluster?.stop();
    silent.close();
  });

  const prometheus = async (of = id): Promise<Prometheus> => (await admin.query(PROMETHEUS, { id: of })).kubernetesCluster.prometheus;
  const rediscover = (by = viewers[0] as KubernetesClustersUser) => by.query(REDISCOVER, { input: { id } });
  /** Begins a run, and gives what it came to. */
  const rediscovered = async () => {
    const { taskStartedAt } = (await rediscover()).rediscoverPrometheus;
    await until(async () => {
      const { lastRun } = await prometheus();
      return lastRun?.startedAt === taskStartedAt && lastRun?.finishedAt !== null;
    }, "the run to end");
    return prometheus();
  };
  const balance = (namespace: string, name: string, ip: string) =>
    cluster.mustRequest("PATCH", `/api/v1/namespaces/${namespace}/services/${name}/status`, {
      status: { loadBalancer: { ingress: [{ ip }] } },
    });

  test("is found when the cluster becomes healthy, through the API server's service proxy", async () => {
    const endpoint = { address: real.address, port: real.port };
    await makeService(cluster, { namespace: "monitoring", name: "prometheus-server", port: 80, endpoint });
    ({ id } = await admin.create("real", { kubeconfig: cluster.kubeconfig(), enabled: true, force: false }));
    await until(async () => (await prometheus()).state === "FOUND", "Prometheus to be found");
    const url = "http://prometheus-server.monitoring.svc.cluster.local:80";
    expect(await prometheus()).toMatchObject({ url, source: "DISCOVERED", lastRun: { outcome: "FOUND" } });
    expect((await prometheus()).candidates).toEqual([
      { namespace: "monitoring", name: "prometheus-server", exposure: "CLUSTER_IP", url, error: null },
    ]);
  });

  test("what can be reached from outside is preferred, if it answers; each that does not says why", async () => {
    const endpoint = { address: real.address, port: real.port };
    await makeService(cluster, { namespace: "monitoring", name: "prometheus", type: "LoadBalancer", port: real.port, endpoint });
    await makeService(cluster, { namespace: "monitoring", name: "prometheus-k8s", type: "LoadBalancer", port: 9090 });
    await makeService(cluster, { namespace: "monitoring", name: "prometheus-service", type: "LoadBalancer", port: 9090 });
    const there = `${real.url}/api/v1/status/config`;
    await using redirecting = await NotKubernetes.start({
      tls: false,
      answer: (_, answer) => answer.writeHead(302, { location: there }).end(),
    });
    const port = Number(new URL(redirecting.url).port);
    await makeService(cluster, { namespace: "monitoring", name: "prometheus-operated", type: "LoadBalancer", port });
    await balance("monitoring", "prometheus-k8s", "169.254.169.254");
    // The closed port of this machine.
    await balance("monitoring", "prometheus-service", real.address);
    await balance("monitoring", "prometheus-operated", "127.0.0.1");
    const without = await rediscovered();
    const errors = new Map(without.candidates.map(({ name, exposure, error }) => [`${name} ${exposure}`, error]));
    expect(errors.get("prometheus-k8s LOAD_BALANCER")).toBe("Link-local, metadata and multicast addresses are not asked.");
    expect(errors.get("prometheus-service LOAD_BALANCER")).toBe("The connection is refused.");
    expect(errors.get("prometheus-operated LOAD_BALANCER")).toBe("It answers with HTTP 302.");
    expect(errors.get("prometheus-k8s NODE_PORT")).toBe("The connection is refused.");
    expect(without).toMatchObject({ state: "FOUND", url: `http://prometheus.monitoring.svc.cluster.local:${real.port}` });
    await balance("monitoring", "prometheus", real.address);
    expect(await rediscovered()).toMatchObject({ state: "FOUND", url: real.url, source: "DISCOVERED" });
    for (const name of ["prometheus", "prometheus-k8s", "prometheus-service", "prometheus-operated"]) {
      await cluster.mustRequest("DELETE", `/api/v1/namespaces/monitoring/services/${name}`);
    }
  });

  test("is looked for in all namespaces, by labels and port; where nothing answers that is told, and a service without an answer is not it", async () => {
    await cluster.mustRequest("DELETE", "/api/v1/namespaces/monitoring/services/prometheus-server");
    await makeService(cluster, { namespace: "other", name: "metrics", port: 9090, endpoint: { address: real.address, port: 1 } });
    const labels = { "app.kubernetes.io/name": "prometheus" };
    await makeService(cluster, { namespace: "other", name: "labelled", labels, port: 8080 });
    const nothing = await rediscovered();
    expect(nothing).toMatchObject({ url: null, source: null, state: "NOT_FOUND", lastRun: { outcome: "NOT_FOUND" } });
    expect(nothing.candidates.map(({ name }) => name)).toEqual(["labelled", "metrics"]);
    for (const { error } of nothing.candidates) expect(error).not.toBeNull();
    await makeService(cluster, { namespace: "other", name: "web", port: 9090, endpoint: { address: real.address, port: real.port } });
    expect(await rediscovered()).toMatchObject({ state: "FOUND", url: "http://web.other.svc.cluster.local:9090" });
  });

  test("a run whose process died is over, and another one begins", async () => {
    const { health, queries } = replicas[0]?.subgraph.services.kubernetes ?? expect.fail("no replica");
    const about = await queries.get(systemContext("test", new AbortController().signal, silentLog), id);
    const lastRun = { startedAt: "2026-01-01T00:00:00.000Z", finishedAt: null, outcome: null, message: null };
    await health.recordPrometheus(about, { state: "SEARCHING", url: null, lastRun, candidates: [] });
    await until(async () => (await prometheus()).state === "FOUND", "Prometheus to be found");
    expect((await prometheus()).lastRun?.startedAt).not.toBe(lastRun.startedAt);
  });

  test("one run at a time, among all replicas; a URL set by hand ends it, clearing it begins one by itself", async () => {
    const port = await listen(silent, machineAddress());
    const endpoint = { address: machineAddress(), port };
    await makeService(cluster, { namespace: "monitoring", name: "prometheus-operated", port: 9090, endpoint });
    const [one, two] = viewers as [KubernetesClustersUser, KubernetesClustersUser];
    const { clusterId, taskStartedAt } = (await rediscover(one)).rediscoverPrometheus;
    expect(clusterId).toBe(id);
    expect(await prometheus()).toMatchObject({
      state: "SEARCHING",
      lastRun: { startedAt: taskStartedAt, finishedAt: null, outcome: null },
    });
    for (const viewer of [one, two])
      await expect(rediscover(viewer)).rejects.toMatchObject({ code: "CONFLICT", reason: "DiscoveryRunning" });
    const url = "https://prometheus.example.org";
    await admin.call("update", { id, prometheusUrl: url });
    expect(await prometheus()).toMatchObject({ url, source: "MANUAL", state: "CONFIGURED", lastRun: { outcome: "CANCELLED" } });
    for (const viewer of [one, two]) {
      await expect(rediscover(viewer)).rejects.toMatchObject({ code: "FAILED_PRECONDITION", reason: "PrometheusUrlSet" });
    }
    await cluster.mustRequest("DELETE", "/api/v1/namespaces/monitoring/services/prometheus-operated");
    await admin.call("update", { id, prometheusUrl: null });
    await until(async () => (await prometheus()).state === "FOUND", "Prometheus to be found again");
  });

  test("a run ends with the replica that does it, and with the cluster", async () => {
    const port = (silent.address() as { port: number }).port;
    await makeService(cluster, {
      namespace: "monitoring",
      name: "kube-prometheus-stack-prometheus",
      port: 9090,
      endpoint: { address: machineAddress(), port },
    });
    const third = await fleet.replica({ kubernetes });
    await rediscover(new KubernetesClustersUser(fleet, third, "viewer"));
    await third.stop();
    const cancelled = await prometheus();
    expect(cancelled).toMatchObject({ state: "FOUND", lastRun: { outcome: "CANCELLED", message: "The server was stopped." } });
    await rediscover();
    const deleted = admin.call("delete", { id });
    await expect(deleted).resolves.toMatchObject({ id });
    await expect(rediscover()).rejects.toMatchObject({ code: "NOT_FOUND" });
  });
});
