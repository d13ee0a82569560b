import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { CLUSTERS_VARIANTS, ClustersFleet, type ClustersReplica, graphqlRefusal, registration } from "../../../support/clusters-fleet.ts";
import { makeNode, makePods, makeService } from "../../../support/kubernetes/objects.ts";
import { HangingServer } from "../../../support/kubernetes/odd-servers.ts";
import { TestKubernetes } from "../../../support/kubernetes/test-kubernetes.ts";
import { KubernetesClustersUser, unreachableKubeconfig } from "../../../support/kubernetes-clusters.ts";
import { describeWithPeers } from "../../../support/peers.ts";

const ENV = [
  { name: "MODE", value: "fast-lane" },
  { name: "PASSWORD", valueFrom: { secretKeyRef: { name: "db", key: "password" } } },
];

describeWithPeers("objects of a Kubernetes cluster", ["kubernetes"], () => {
  let cluster: TestKubernetes;
  let fleet: ClustersFleet;
  let replica: ClustersReplica;
  let admin: KubernetesClustersUser;
  let viewer: KubernetesClustersUser;
  let id: string;

  beforeAll(async () => {
    cluster = await TestKubernetes.start();
    fleet = await ClustersFleet.open("SQLite");
    replica = await fleet.replica();
    admin = new KubernetesClustersUser(fleet, replica);
    viewer = new KubernetesClustersUser(fleet, replica, "viewer");
    ({ id } = await admin.create("real", { kubeconfig: cluster.kubeconfig(), enabled: true }));
    await cluster.kubectl(["create", "namespace", "paged"]);
  });
  afterAll(async () => {
    await fleet?.close();
    await cluster?.stop();
  });

  const ask = async (fields: string, asker = viewer) =>
    (await asker.query(`query ($id: ID!) { kubernetesCluster(id: $id) { ${fields} } }`, { id })).kubernetesCluster;
  const refused = async (fields: string, role: "viewer" | "operator" | null = "viewer", clusterId = id) =>
    graphqlRefusal(await fleet.graphql(replica, role, `query ($id: ID!) { kubernetesCluster(id: $id) { ${fields} } }`, { id: clusterId }));

  test("kinds are read as kubectl made them", async () => {
    await cluster.kubectl(["create", "namespace", "shop"]);
    await cluster.kubectl(["create", "deployment", "web", "--image=registry.example/web:2", "--replicas=3", "-n", "shop"]);
    await cluster.kubectl(["apply", "-f", "-"], {
      input: JSON.stringify({
        apiVersion: "v1",
        kind: "Pod",
        metadata: { name: "web-1", namespace: "shop", labels: { app: "web" } },
        spec: { containers: [{ name: "web", image: "registry.example/web:2", resources: { limits: { memory: "64Mi" } }, env: ENV }] },
      }),
    });
    await makeService(cluster, { namespace: "shop", name: "web", type: "NodePort", port: 80 });
    await makeNode(cluster, "worker-1", { addresses: ["192.168.77.1"], labels: { "node-role.kubernetes.io/worker": "" } });
    await cluster.mustRequest("POST", "/api/v1/namespaces/shop/events", {
      metadata: { name: "web-1.1" },
      involvedObject: { kind: "Pod", namespace: "shop", name: "web-1" },
      type: "Warning",
      reason: "BackOff",
      message: "again",
      count: 4,
      lastTimestamp: "2026-11-20T08:00:00Z",
    });
    const shown = await ask(`
      nodes { totalCount nodes { name ready roles capacity { cpuCores memoryBytes pods } addresses { type address } node { id } } }
      namespaces(fieldSelector: "metadata.name=shop") { nodes { name phase } }
      pods(namespace: "shop") { totalCount nodes { namespace name phase qosClass labels { key value } annotations { key } containers { name ready resources { limits { memoryBytes } } env { name source reference } } } }
      deployments(namespace: "shop") { nodes { name replicas { desired ready } selector images } }
      services(namespace: "shop") { nodes { name type clusterIPs ports { port nodePort protocol } } }
      events(namespace: "shop", fieldSelector: "involvedObject.name=web-1") { nodes { type reason message count lastAt object { kind name } } }`);
    expect(shown.nodes.totalCount).toBe(1);
    expect(shown.nodes.nodes).toEqual([
      {
        name: "worker-1",
        ready: true,
        roles: ["worker"],
        capacity: { cpuCores: 8, memoryBytes: 32 * 1024 ** 3, pods: 110 },
        addresses: [
          { type: "InternalIP", address: "192.168.77.1" },
          { type: "Hostname", address: "worker-1" },
        ],
        node: null,
      },
    ]);
    expect(shown.namespaces.nodes).toEqual([{ name: "shop", phase: "Active" }]);
    expect(shown.pods).toEqual({
      totalCount: 1,
      nodes: [
        {
          namespace: "shop",
          name: "web-1",
          phase: "Pending",
          qosClass: "Burstable",
          labels: [{ key: "app", value: "web" }],
          annotations: [],
          containers: [
            {
              name: "web",
              ready: false,
              resources: { limits: { memoryBytes: 64 * 1024 ** 2 } },
              env: [
                { name: "MODE", source: "VALUE", reference: null },
                { name: "PASSWORD", source: "SECRET", reference: "db/password" },
              ],
            },
          ],
        },
      ],
    });
    expect(shown.deployments.nodes).toEqual([
      { name: "web", replicas: { desired: 3, ready: 0 }, selector: "app=web", images: ["registry.example/web:2"] },
    ]);
    expect(shown.services.nodes).toMatchObject([{ name: "web", type: "NodePort", ports: [{ port: 80, protocol: "TCP" }] }]);
    expect(shown.services.nodes[0].ports[0].nodePort).toBeGreaterThan(0);
    expect(shown.events.nodes).toEqual([
      {
        type: "Warning",
        reason: "BackOff",
        message: "again",
        count: 4,
        lastAt: "2026-11-20T08:00:00.000Z",
        object: { kind: "Pod", name: "web-1" },
      },
    ]);
  });

  test("values of variables are for operators, those of secrets for nobody", async () => {
    const fields = `pods(namespace: "shop") { nodes { containers { env { name value } } } }`;
    const query = `query ($id: ID!) { kubernetesCluster(id: $id) { ${fields} } }`;
    const asViewer = await fleet.graphql(replica, "viewer", query, { id });
    expect(asViewer.errors).toMatchObject([
      { path: ["kubernetesCluster", "pods", "nodes", 0, "containers", 0, "env", 0, "value"], extensions: { code: "FORBIDDEN" } },
    ]);
    expect(JSON.stringify(asViewer)).not.toContain("fast-lane");
    expect(asViewer.data?.kubernetesCluster).toEqual({
      pods: {
        nodes: [
          {
            containers: [
              {
                env: [
                  { name: "MODE", value: null },
                  { name: "PASSWORD", value: null },
                ],
              },
            ],
          },
        ],
      },
    });
    const asOperator = await fleet.graphql(replica, "operator", query, { id });
    expect(asOperator).toEqual({
      data: {
        kubernetesCluster: {
          pods: {
            nodes: [
              {
                containers: [
                  {
                    env: [
                      { name: "MODE", value: "fast-lane" },
                      { name: "PASSWORD", value: null },
                    ],
                  },
                ],
              },
            ],
          },
        },
      },
    });
  });

  test("pages follow each other without gap or repeat, from every object on", async () => {
    const names = (await makePods(cluster, 25, { namespace: "paged", labels: { app: "paged" } })).sort();
    const page = async (after: string | null, first = 10) =>
      (
        await viewer.query(
          `query ($id: ID!, $after: String, $first: Int) { kubernetesCluster(id: $id) { pods(namespace: "paged", first: $first, after: $after) {
            totalCount nodes { name } edges { cursor node { name } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } } }`,
          { id, after, first },
        )
      ).kubernetesCluster.pods;
    const seen: string[] = [];
    const cursors: string[] = [];
    let after: string | null = null;
    do {
      const one = await page(after);
      expect(one.totalCount).toBe(25);
      expect(one.pageInfo.hasPreviousPage).toBe(after !== null);
      seen.push(...one.nodes.map(({ name }: { name: string }) => name));
      cursors.push(...one.edges.map(({ cursor }: { cursor: string }) => cursor));
      after = one.pageInfo.hasNextPage ? one.pageInfo.endCursor : null;
    } while (after !== null);
    expect(seen).toEqual(names);
    // What is made meanwhile does not move the pages of a list that was begun before.
    await makePods(cluster, 1, { namespace: "paged", prefix: "a" });
    for (const [index, cursor] of cursors.entries()) {
      const { nodes, totalCount } = await page(cursor, 3);
      expect(nodes.map(({ name }: { name: string }) => name)).toEqual(names.slice(index + 1, index + 4));
      expect(totalCount).toBe(25);
    }
  });

  test("with a selector the number is told on the last page", async () => {
    const { pods } = await ask(
      `pods(labelSelector: "app in (paged), !old", first: 20) { totalCount nodes { name } pageInfo { endCursor } }`,
    );
    expect(pods.totalCount).toBeNull();
    expect(pods.nodes).toHaveLength(20);
    const after = pods.pageInfo.endCursor;
    const rest = await ask(`pods(labelSelector: "app in (paged), !old", first: 20, after: "${after}") { totalCount nodes { name } }`);
    expect(rest.pods).toMatchObject({ totalCount: 25, nodes: expect.objectContaining({ length: 5 }) });
    expect(await refused(`services(first: 20, after: "${after}") { totalCount }`)).toMatchObject({
      code: "INVALID_ARGUMENT",
      field: "after",
    });
  });

  test("a list that was begun too long ago has expired", async () => {
    const { pods } = await ask(`pods(namespace: "paged", first: 2) { edges { cursor } }`);
    await makePods(cluster, 1, { namespace: "paged", prefix: "later" });
    await cluster.compact();
    for (const { cursor } of pods.edges) {
      const expired = await refused(`pods(namespace: "paged", first: 2, after: "${cursor}") { totalCount }`);
      expect(expired).toMatchObject({ code: "CURSOR_EXPIRED", reason: "ListExpired" });
    }
  });

  test.each([
    [`pods(first: 0) { totalCount }`, { code: "INVALID_ARGUMENT", field: "first" }],
    [`pods(first: 101) { totalCount }`, { code: "INVALID_ARGUMENT", field: "first" }],
    [`pods(namespace: "../secrets") { totalCount }`, { code: "INVALID_ARGUMENT", field: "namespace" }],
    [`pods(labelSelector: "a b") { totalCount }`, { code: "INVALID_ARGUMENT", field: "labelSelector" }],
    [`pods(fieldSelector: "a") { totalCount }`, { code: "INVALID_ARGUMENT", field: "fieldSelector" }],
    [`pods(fieldSelector: "spec.containers=a") { totalCount }`, { code: "INVALID_ARGUMENT", reason: "Invalid" }],
    [`pods(after: "abc") { totalCount }`, { code: "INVALID_ARGUMENT", field: "after" }],
  ])("%s is refused", async (fields, refusal) => {
    expect(await refused(fields)).toMatchObject(refusal);
  });

  test("one query over all clusters: each that cannot be read has its own error beside the others' data", async () => {
    await using hanging = await HangingServer.start();
    const restricted = cluster.kubeconfig({ credentials: { token: cluster.issueToken({ user: "nobody" }) } });
    await admin.create("restricted", { kubeconfig: restricted, enabled: true });
    await admin.create("closed", { kubeconfig: unreachableKubeconfig(), enabled: true });
    await admin.create("hanging", {
      kubeconfig: cluster.kubeconfig({ server: hanging.url }),
      enabled: true,
    });
    const off = await admin.create("off", { kubeconfig: cluster.kubeconfig(), enabled: false });
    const { data, errors } = await fleet.graphql(
      replica,
      "viewer",
      `{ kubernetesClusters { nodes { id name namespaces { nodes { name } } services { nodes { name } } } } }`,
    );
    const shown = (data?.kubernetesClusters as { nodes: Array<Record<string, { nodes: unknown[] } | null>> }).nodes;
    expect(shown.map(({ name }) => name)).toEqual(["closed", "hanging", "off", "real", "restricted"]);
    expect(shown.map(({ namespaces }) => (namespaces?.nodes.length ?? 0) > 0)).toEqual([false, false, false, true, false]);
    const problem = (index: number) => errors?.find(({ path }) => path?.[2] === index && path[3] === "namespaces")?.extensions;
    expect(problem(0)).toMatchObject({ code: "UNAVAILABLE", reason: "ConnectionRefused", step: "TCP", clusterId: shown[0]?.["id"] });
    expect(problem(1)).toMatchObject({ code: "UNAVAILABLE", step: "TLS", clusterId: shown[1]?.["id"] });
    expect(problem(2)).toMatchObject({ code: "FAILED_PRECONDITION", reason: "ClusterDisabled", id: off.id });
    expect(problem(3)).toBeUndefined();
    expect(problem(4)).toMatchObject({ code: "FAILED_PRECONDITION", reason: "Forbidden", step: "AUTHORIZATION" });
    expect(errors).toHaveLength(8);
    expect(JSON.stringify(errors)).not.toContain("127.0.0.1");
  });

  test("needs a user", async () => {
    expect(await refused(`pods { totalCount }`, null)).toMatchObject({ code: "UNAUTHENTICATED" });
  });

  for (const variant of CLUSTERS_VARIANTS) {
    describeWithPeers(`with its hosts on ${variant.name}`, variant.peers, () => {
      test("links nodes to their Node by provider id, machine id and address", async () => {
        const hosts = await ClustersFleet.open(variant.name);
        onTestFinished(() => hosts.close());
        const control = await hosts.replica();
        const grpc = await hosts.user(control, "admin");
        const operator = new KubernetesClustersUser(hosts, control, "admin");
        const register = async (hostname: string, ip: string, machineId = "") =>
          (await grpc.registerNode(registration(hostname, { ip, machineId }))).nodeId;
        const machineId = randomBytes(16).toString("hex");
        const one = await register("one", "192.168.78.1");
        await register("two", "192.168.78.2", machineId);
        await register("three", "192.168.78.3");
        const prefix = variant.peers.length === 0 ? "a" : "b";
        await makeNode(cluster, `${prefix}-address`, { addresses: ["192.168.78.3"] });
        await makeNode(cluster, `${prefix}-elsewhere`, { addresses: ["10.9.9.8"] });
        await makeNode(cluster, `${prefix}-machine`, { machineId, addresses: ["10.9.9.9"] });
        await makeNode(cluster, `${prefix}-provider`, { providerId: `fleetgraph://${one}`, addresses: ["192.168.78.3"] });
        const registered = await operator.create("real", { kubeconfig: cluster.kubeconfig(), enabled: true });
        const query = `query ($id: ID!) { kubernetesCluster(id: $id) { nodes { nodes { name node { hostname status } } } } }`;
        const { nodes } = (await operator.query(query, { id: registered.id })).kubernetesCluster.nodes;
        const shown: Array<{ name: string; node: unknown }> = nodes;
        expect(shown.filter(({ name }) => name.startsWith(`${prefix}-`)).map(({ node }) => node)).toEqual([
          { hostname: "three", status: "PENDING" },
          null,
          { hostname: "two", status: "PENDING" },
          { hostname: "one", status: "PENDING" },
        ]);
      });
    });
  }
});
