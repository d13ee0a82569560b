import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ClustersFleet, type ClustersReplica, graphqlRefusal } from "../../../support/clusters-fleet.ts";
import { inCampaigns } from "../../../support/in-campaigns.ts";
import { deletePods, makeNode, makePods, setPodStatus } from "../../../support/kubernetes/objects.ts";
import { SimulatedKubelet } from "../../../support/kubernetes/simulated-kubelet.ts";
import { TestKubernetes } from "../../../support/kubernetes/test-kubernetes.ts";
import { KubernetesClustersUser } from "../../../support/kubernetes-clusters.ts";
import { SubscribedEvents } from "../../../support/kubernetes-events.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import { until } from "../../../support/until.ts";

const POD_EVENTS = `subscription ($id: ID!, $namespace: String, $labels: String, $after: String, $snapshot: Boolean) {
  kubernetesPodEvents(clusterId: $id, namespace: $namespace, labelSelector: $labels, after: $after, snapshot: $snapshot) {
    type timestamp cursor kubernetesPod { namespace name phase deletionRequestedAt containers { env { value } } } } }`;
const POD_LOGS = `subscription ($id: ID!, $pod: String!, $tail: Int) {
  kubernetesPodLogs(clusterId: $id, namespace: "default", pod: $pod, tailLines: $tail) { lines truncated ended reason } }`;

describeWithPeers("a Kubernetes cluster, live", ["kubernetes"], () => {
  let cluster: TestKubernetes;
  let fleet: ClustersFleet;
  let replica: ClustersReplica;
  let admin: KubernetesClustersUser;
  let id: string;

  beforeAll(async () => {
    cluster = await TestKubernetes.start();
    fleet = await ClustersFleet.open("SQLite");
    replica = await fleet.replica();
    admin = new KubernetesClustersUser(fleet, replica);
    id = await registered("live");
    await cluster.kubectl(["create", "namespace", "watched"]);
  });
  afterAll(async () => {
    await fleet?.close();
    await cluster?.stop();
  });

  const registered = async (name: string) => (await admin.create(name, { kubeconfig: cluster.kubeconfig(), enabled: true })).id;
  const podEvents = (variables: Record<string, unknown> = {}) =>
    SubscribedEvents.open(fleet, replica, "viewer", "kubernetesPodEvents", POD_EVENTS, { id, namespace: "watched", ...variables });

  describe("its events", () => {
    test("list-then-watch shows each change once, and goes on behind any cursor", async () => {
      await makePods(cluster, 2, { namespace: "watched", prefix: "old" });
      const list = `query ($id: ID!) { kubernetesCluster(id: $id) { pods(namespace: "watched", first: 1) { watchCursor } } }`;
      const { watchCursor } = (await admin.query(list, { id })).kubernetesCluster.pods;
      const [name = ""] = await makePods(cluster, 1, { namespace: "watched", prefix: "new" });
      await setPodStatus(cluster, "watched", name, { phase: "Running" });
      await deletePods(cluster, "watched", [name]);
      const read = async (after: string, count: number) => {
        await using events = await podEvents({ after });
        const all = [];
        while (all.length < count) all.push(await events.next());
        return all;
      };
      const all = await read(watchCursor, 4);
      const shown = all.map(({ type, kubernetesPod: pod }) => [type, pod.name, pod.phase, pod.deletionRequestedAt !== null]);
      expect(shown).toEqual([
        ["ADDED", name, "Pending", false],
        ["MODIFIED", name, "Running", false],
        ["MODIFIED", name, "Running", true],
        ["DELETED", name, "Running", true],
      ]);
      expect((await read(all[0].cursor, 3)).map(({ type, cursor }) => [type, cursor])).toEqual(
        all.slice(1).map(({ type, cursor }) => [type, cursor]),
      );
    });

    test("a snapshot comes first, a bookmark behind it; an object that leaves the selector is deleted", async () => {
      await makePods(cluster, 2, { namespace: "watched", prefix: "chosen", labels: { chosen: "yes" } });
      await using events = await podEvents({ labels: "chosen=yes", snapshot: true });
      const first = [await events.next(), await events.next(), await events.next()];
      expect(first.map(({ type }) => type)).toEqual(["ADDED", "ADDED", "BOOKMARK"]);
      expect(first.map(({ kubernetesPod }) => kubernetesPod?.name ?? "").sort()).toEqual(["", "chosen-0", "chosen-1"]);
      await cluster.kubectl(["label", "pod", "chosen-0", "-n", "watched", "chosen-"]);
      expect(await events.next()).toMatchObject({ type: "DELETED", kubernetesPod: { name: "chosen-0" } });
    });

    test("a pod's variables stay hidden from viewers here, too", async () => {
      await using events = await podEvents();
      expect(await events.next()).toMatchObject({ type: "BOOKMARK", kubernetesPod: null });
      const containers = [{ name: "main", image: "registry.example/main:1", env: [{ name: "MODE", value: "fast" }] }];
      await makePods(cluster, 1, { namespace: "watched", prefix: "env", containers });
      await expect(events.next()).rejects.toMatchObject({ code: "FORBIDDEN" });
    });

    test("end with their reason when the cluster is disabled, deleted, or reached otherwise", async () => {
      for (const [name, change, refusal] of [
        ["disabled", (one: string) => admin.call("disable", { id: one }), { code: "FAILED_PRECONDITION", reason: "ClusterDisabled" }],
        ["deleted", (one: string) => admin.call("delete", { id: one }), { code: "NOT_FOUND", reason: "ClusterDeleted" }],
        [
          "moved",
          (one: string) => admin.call("update", { id: one, kubeconfig: cluster.kubeconfig({ context: "other" }), force: true }),
          { code: "CURSOR_EXPIRED", reason: "ClusterAccessChanged" },
        ],
      ] as const) {
        const other = await registered(name);
        await using events = await podEvents({ id: other });
        const { cursor } = await events.next();
        await change(other);
        expect(await events.refusal()).toMatchObject(refusal);
        await using again = await podEvents({ id: other, after: cursor });
        expect((await again.refusal())["code"]).toBe(refusal.code);
      }
    });

    inCampaigns("go on where they were when the API server is back", async () => {
      await using events = await podEvents();
      await events.next();
      await cluster.kill();
      const list = `query ($id: ID!) { kubernetesCluster(id: $id) { pods { watchCursor } } }`;
      await expect(admin.query(list, { id })).rejects.toMatchObject({ code: "UNAVAILABLE", reason: "ConnectionRefused", step: "TCP" });
      await cluster.start();
      await makePods(cluster, 2, { namespace: "watched", prefix: "back" });
      const names = [(await events.next()).kubernetesPod.name, (await events.next()).kubernetesPod.name];
      expect(names.sort()).toEqual(["back-0", "back-1"]);
    });

    test.each([
      [{ labels: "a b" }, { code: "INVALID_ARGUMENT", field: "labelSelector" }],
      [{ after: "abc" }, { code: "INVALID_ARGUMENT", field: "after" }],
      [{ id: "k8s-0000000000000000" }, { code: "NOT_FOUND" }],
    ])("with %j are refused", async (variables, refusal) => {
      await using events = await podEvents(variables);
      expect(await events.refusal()).toMatchObject(refusal);
    });

    test("of every kind come", async () => {
      const kinds = ["Node", "Namespace", "Deployment", "Service", "Event"];
      for (const kind of kinds) {
        const field = `kubernetes${kind}Events`;
        const query = `subscription ($id: ID!) { ${field}(clusterId: $id) { type kubernetes${kind} { uid name } } }`;
        await using events = await SubscribedEvents.open(fleet, replica, "viewer", field, query, { id });
        expect(await events.next()).toMatchObject({ type: "BOOKMARK" });
        await makeOne[kind as keyof typeof makeOne](cluster);
        expect(await events.next()).toMatchObject({ type: "ADDED", [`kubernetes${kind}`]: { name: `one-${kind.toLowerCase()}` } });
      }
    });
  });

  describe("its pods' logs", () => {
    let kubelet: SimulatedKubelet;
    const place = { namespace: "default", pod: "logging-0", container: "main" };
    const podLogs = (args: string, role: "viewer" | "operator" = "operator") =>
      fleet.graphql(
        replica,
        role,
        `query ($id: ID!) { kubernetesCluster(id: $id) { podLogs(namespace: "default", ${args}) { lines truncated } } }`,
        { id },
      );
    const follow = (variables: Record<string, unknown>) =>
      SubscribedEvents.open(fleet, replica, "operator", "kubernetesPodLogs", POD_LOGS, { id, ...variables });

    beforeAll(async () => {
      kubelet = await SimulatedKubelet.start();
      await makeNode(cluster, "logs", { addresses: [kubelet.address], kubeletPort: kubelet.port });
      await makePods(cluster, 3, { prefix: "logging", nodeName: "logs", phase: "Running" });
      kubelet.write(place, "of the one before");
      kubelet.restart(place);
      for (const line of ["one", "zwei ü", "three"]) kubelet.write(place, line);
    });
    afterAll(() => kubelet?.[Symbol.asyncDispose]());

    test("are their newest lines", async () => {
      const read = async (args: string) => (await podLogs(args)).data?.kubernetesCluster;
      expect(await read(`pod: "logging-0"`)).toEqual({ podLogs: { lines: ["one", "zwei ü", "three"], truncated: false } });
      expect(await read(`pod: "logging-0", tailLines: 1, container: "main"`)).toEqual({ podLogs: { lines: ["three"], truncated: false } });
      expect(await read(`pod: "logging-0", previous: true`)).toEqual({ podLogs: { lines: ["of the one before"], truncated: false } });
      const stamped = await read(`pod: "logging-0", timestamps: true, tailLines: 1`);
      expect(stamped).toEqual({ podLogs: { lines: [expect.stringMatching(/^20\S+Z three$/)], truncated: false } });
    });

    test("are cut at a megabyte, the newest lines kept", async () => {
      const long = { ...place, pod: "logging-2" };
      for (let line = 0; line < 40; line += 1) kubelet.write(long, `${line} ${"x".repeat(59_990)}`);
      const { lines, truncated } = (
        (await podLogs(`pod: "logging-2"`)).data?.kubernetesCluster as { podLogs: { lines: string[]; truncated: boolean } }
      ).podLogs;
      expect(truncated).toBe(true);
      expect(lines.map((line) => line.split(" ")[0])).toEqual(Array.from({ length: 17 }, (_, index) => String(23 + index)));
    });

    test.each([
      [`pod: "logging-1"`, { code: "FAILED_PRECONDITION", reason: "ContainerWaiting" }],
      [`pod: "none"`, { code: "NOT_FOUND", reason: "NotFound" }],
      [`pod: "logging-0", container: "other"`, { code: "INVALID_ARGUMENT", reason: "Invalid" }],
      [`pod: "logging-0", tailLines: 5001`, { code: "INVALID_ARGUMENT", field: "tailLines" }],
    ])("with %s are refused", async (args, refusal) => {
      expect(graphqlRefusal(await podLogs(args))).toMatchObject(refusal);
    });

    test("need an operator", async () => {
      expect(graphqlRefusal(await podLogs(`pod: "logging-0"`, "viewer"))).toMatchObject({ code: "FORBIDDEN", requiredRole: "operator" });
      await using log = await SubscribedEvents.open(fleet, replica, "viewer", "kubernetesPodLogs", POD_LOGS, { id, pod: "logging-0" });
      expect(await log.refusal()).toMatchObject({ code: "FORBIDDEN" });
    });

    test("are followed until the container ends, which is told with the reason", async () => {
      await using log = await follow({ pod: "logging-0", tail: 1 });
      expect(await log.next()).toEqual({ lines: ["three"], truncated: false, ended: false, reason: null });
      await until(() => kubelet.followers(place) === 1, "the follower");
      kubelet.write(place, "four");
      expect(await log.next()).toMatchObject({ lines: ["four"], ended: false });
      await setPodStatus(cluster, "default", "logging-0", {
        containerStatuses: [
          {
            name: "main",
            ready: false,
            restartCount: 1,
            image: "a",
            imageID: "",
            state: { terminated: { exitCode: 0, reason: "Completed" } },
          },
        ],
      });
      kubelet.end(place);
      expect(await log.next()).toEqual({ lines: [], truncated: false, ended: true, reason: "ContainerTerminated" });
      await expect(log.next()).rejects.toThrow("The subscription is over.");
    });

    test("are let go by who leaves, and end with the cluster", async () => {
      const followed = { ...place, pod: "logging-2" };
      await using left = await follow({ pod: "logging-2", tail: 0 });
      const pending = left.next().catch(() => null);
      await until(() => kubelet.followers(followed) === 1, "the follower");
      await left[Symbol.asyncDispose]();
      await pending;
      await until(() => kubelet.followers(followed) === 0, "the follower's end");

      const other = await registered("logged");
      await using log = await follow({ id: other, pod: "logging-2", tail: 0 });
      const refusal = log.refusal();
      await until(() => kubelet.followers(followed) === 1, "the follower");
      await admin.call("disable", { id: other });
      expect(await refusal).toMatchObject({ code: "FAILED_PRECONDITION", reason: "ClusterDisabled" });
      await until(() => kubelet.followers(followed) === 0, "the follower's end");
    });
  });
});

/** One object of a kind. */
const makeOne = {
  Node: (cluster: TestKubernetes) => makeNode(cluster, "one-node"),
  Namespace: (cluster: TestKubernetes) => cluster.kubectl(["create", "namespace", "one-namespace"]),
  Deployment: (cluster: TestKubernetes) => cluster.kubectl(["create", "deployment", "one-deployment", "--image=registry.example/a:1"]),
  Service: (cluster: TestKubernetes) => cluster.kubectl(["create", "service", "clusterip", "one-service", "--tcp=80"]),
  Event: (cluster: TestKubernetes) =>
    cluster.mustRequest("POST", "/api/v1/namespaces/default/events", {
      metadata: { name: "one-event" },
      involvedObject: { kind: "Pod", namespace: "default", name: "any" },
      reason: "Happened",
    }),
};
