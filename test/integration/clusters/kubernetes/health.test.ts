import { afterAll, beforeAll, expect, test } from "vitest";
import { systemContext } from "../../../../platform/request-context.ts";
import { DEFAULT_HEALTH_CHECK_CONFIG } from "../../../../subgraphs/clusters/services/kubernetes/health/health-checks.ts";
import { ClustersFleet, type ClustersReplica } from "../../../support/clusters-fleet.ts";
import { silent } from "../../../support/event-log-variants.ts";
import { inCampaigns } from "../../../support/in-campaigns.ts";
import { deletePods, makeNode, makePods, setNodeReady } from "../../../support/kubernetes/objects.ts";
import { TestKubernetes } from "../../../support/kubernetes/test-kubernetes.ts";
import { KubernetesClustersUser, type ShownCluster } from "../../../support/kubernetes-clusters.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import { until } from "../../../support/until.ts";

const kubernetes = {
  ...DEFAULT_HEALTH_CHECK_CONFIG,
  checkIntervalMs: 1_000,
  confirmMs: 200,
  longestPauseMs: 1_000,
  checkDeadlineMs: 2_000,
};
const TEST = `mutation ($input: TestKubernetesClusterConnectionInput!) { testKubernetesClusterConnection(input: $input) {
  clusterId clusterName connected kubernetesVersion nodeCount latencySeconds testedAt } }`;

describeWithPeers("the health of a real cluster", ["kubernetes"], () => {
  let cluster: TestKubernetes;
  let fleet: ClustersFleet;
  let replica: ClustersReplica;
  let admin: KubernetesClustersUser;
  let id: string;

  beforeAll(async () => {
    cluster = await TestKubernetes.start();
    fleet = await ClustersFleet.open("SQLite");
    replica = await fleet.replica({ kubernetes });
    admin = new KubernetesClustersUser(fleet, replica);
  });
  afterAll(async () => {
    await fleet?.close();
    await cluster?.stop();
  });

  const shown = async (of = id): Promise<ShownCluster> => (await admin.list()).find((one) => one.id === of) as ShownCluster;
  const untilShown = async (expected: Record<string, unknown>, of = id) => {
    const matches = async () => {
      const is = await shown(of);
      return Object.entries(expected).every(([field, value]) => is[field] === value);
    };
    await until(matches, JSON.stringify(expected)).catch(async (error: Error) => {
      throw new Error(`${error.message} It is ${JSON.stringify(await shown(of))}`);
    });
    return shown(of);
  };
  /** A user who may do only this. */
  const tokenOf = async (name: string, resources: string[]) => {
    const rules = [{ apiGroups: [""], resources, verbs: ["get", "list", "watch"] }];
    const rbac = "/apis/rbac.authorization.k8s.io/v1";
    await cluster.mustRequest("POST", `${rbac}/clusterroles`, { metadata: { name }, rules });
    await cluster.mustRequest("POST", `${rbac}/clusterrolebindings`, {
      metadata: { name },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name },
      subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name }],
    });
    return cluster.issueToken({ user: name });
  };

  test("is checked at once; a node that is not ready is a warning until it is", async () => {
    await makeNode(cluster, "one");
    await makeNode(cluster, "two", { ready: false });
    await makePods(cluster, 3);
    const created = await admin.create("real", {
      kubeconfig: cluster.kubeconfig(),
      enabled: true,
      force: false,
      discoverPrometheus: false,
    });
    expect(created).toMatchObject({ healthStatus: "UNKNOWN", lastConnectedAt: null, nodeCount: 0, podCount: 0 });
    id = created.id;
    const warning = await untilShown({ healthStatus: "WARNING" });
    expect(warning).toMatchObject({ healthReason: "NodesNotReady", version: "v1.20.2", nodeCount: 2, podCount: 3 });
    expect(Date.parse(warning["lastConnectedAt"] as string)).toBeGreaterThan(Date.parse(created["createdAt"] as string) - 1);
    await setNodeReady(cluster, "two", true);
    await untilShown({ healthStatus: "HEALTHY", healthReason: null });
  });

  test("nodes and pods are counted as they come and go", async () => {
    await makeNode(cluster, "three");
    const pods = await makePods(cluster, 20, { prefix: "more" });
    await untilShown({ nodeCount: 3, podCount: 23 });
    await deletePods(cluster, "default", pods.slice(0, 15));
    await cluster.mustRequest("DELETE", "/api/v1/nodes/three");
    await untilShown({ nodeCount: 2, podCount: 8, healthStatus: "HEALTHY" });
  });

  test("an account that may not list pods is a warning, without a count", async () => {
    const kubeconfig = cluster.kubeconfig({ credentials: { token: await tokenOf("nodes-only", ["nodes", "namespaces"]) } });
    const { id: other } = await admin.create("nodes-only", { kubeconfig, enabled: true, force: false, discoverPrometheus: false });
    await untilShown({ healthStatus: "WARNING", healthReason: "PodsNotListed", nodeCount: 2, podCount: null }, other);
    const neither = cluster.kubeconfig({ credentials: { token: await tokenOf("neither", ["namespaces"]) } });
    await admin.call("update", { id: other, kubeconfig: neither });
    await untilShown({ healthStatus: "WARNING", healthReason: "NodesNotListed", nodeCount: null, podCount: null }, other);
    await admin.call("delete", { id: other });
  });

  test("a token that is refused is an error, of which a test of the connection tells the step", async () => {
    const token = await tokenOf("passing", ["nodes", "namespaces", "pods"]);
    const kubeconfig = cluster.kubeconfig({ credentials: { token } });
    const { id: other } = await admin.create("passing", { kubeconfig, enabled: true, force: false, discoverPrometheus: false });
    await untilShown({ healthStatus: "HEALTHY" }, other);
    const viewer = new KubernetesClustersUser(fleet, replica, "viewer");
    const { testKubernetesClusterConnection: tested } = await viewer.query(TEST, { input: { id: other } });
    expect(tested).toMatchObject({ clusterId: other, clusterName: "passing", connected: true, kubernetesVersion: "v1.20.2", nodeCount: 2 });
    expect(tested.latencySeconds).toBeGreaterThan(0);
    await admin.call("update", { id: other, kubeconfig: cluster.kubeconfig({ credentials: { token: "wrong" } }), force: true });
    await untilShown({ healthStatus: "ERROR", healthReason: "Unauthorized" }, other);
    await expect(viewer.query(TEST, { input: { id: other } })).rejects.toMatchObject({ code: "UNAVAILABLE", step: "AUTHENTICATION" });
    await expect(viewer.query(TEST, { input: { id: "k8s-none" } })).rejects.toMatchObject({ code: "NOT_FOUND" });
    await admin.call("delete", { id: other });
  });

  test("stopped it is UNAVAILABLE, with an event and what was last known of it; it comes back by itself", async () => {
    const before = await shown();
    const events = replica.subgraph.services.kubernetes.queries;
    const seen: string[] = [];
    const stop = new AbortController();
    const ctx = systemContext("test", stop.signal, silent);
    const watching = (async () => {
      for await (const { object } of events.watch(ctx, { clusterIds: [id] })) if (object) seen.push(object.healthStatus);
    })().catch(() => undefined);
    await cluster.kill();
    const down = await untilShown({ healthStatus: "UNAVAILABLE" });
    expect(down).toMatchObject({ healthReason: "ConnectionRefused", nodeCount: 2, podCount: 8, version: "v1.20.2" });
    expect(Date.parse(down["lastConnectedAt"] as string)).toBeLessThanOrEqual(Date.parse(down["healthSince"] as string));
    expect(Date.parse(down["lastConnectedAt"] as string)).toBeGreaterThanOrEqual(Date.parse(before["lastConnectedAt"] as string));
    const stays = down["lastConnectedAt"];
    await cluster.start();
    const back = await untilShown({ healthStatus: "HEALTHY", podCount: 8 });
    expect(Date.parse(back["lastConnectedAt"] as string)).toBeGreaterThan(Date.parse(stays as string));
    await until(() => seen.at(-1) === "HEALTHY", "the events");
    expect(seen.filter((status, index) => status !== seen[index - 1])).toEqual(expect.arrayContaining(["UNAVAILABLE", "HEALTHY"]));
    stop.abort();
    await watching;
  });

  inCampaigns("one that hangs is UNAVAILABLE too, and counts go on when it does", async () => {
    cluster.freeze();
    await untilShown({ healthStatus: "UNAVAILABLE" });
    cluster.thaw();
    await untilShown({ healthStatus: "HEALTHY" });
    await makePods(cluster, 2, { prefix: "after" });
    await untilShown({ podCount: 10 });
  });
});
