import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CLUSTERS_VARIANTS, ClustersFleet, type ClustersReplica } from "../../../support/clusters-fleet.ts";
import { KubernetesClustersUser, unreachableKubeconfig } from "../../../support/kubernetes-clusters.ts";
import { describeWithPeers } from "../../../support/peers.ts";

for (const variant of CLUSTERS_VARIANTS) {
  describeWithPeers(`the registry of Kubernetes clusters on ${variant.name}`, variant.peers, () => {
    let fleet: ClustersFleet;
    let replica: ClustersReplica;
    let admin: KubernetesClustersUser;

    beforeAll(async () => {
      fleet = await ClustersFleet.open(variant.name);
      replica = await fleet.replica();
      admin = new KubernetesClustersUser(fleet, replica);
    });
    afterAll(() => fleet?.close());

    const deleteAll = async () => {
      const clusters = (await admin.list()).sort((a, b) => Number(a.isDefault) - Number(b.isDefault));
      for (const { id } of clusters) await admin.call("delete", { id });
    };

    test("shows a new cluster as the seed does: unknown, never connected, nothing counted", async () => {
      const kubeconfig = unreachableKubeconfig({ context: "dev" });
      const created = await admin.create("development", { kubeconfig: Buffer.from(kubeconfig).toString("base64") });
      expect(created).toMatchObject({ name: "development", isDefault: false, enabled: false, context: "dev", healthStatus: "UNKNOWN" });
      expect(created).toMatchObject({ lastConnectedAt: null, version: null, nodeCount: 0, podCount: 0 });
      expect(created["prometheus"]).toEqual({ url: null, source: null, state: "PENDING" });
      const context = { name: "dev", cluster: "dev-cluster", user: "dev-user", namespace: null, server: "https://127.0.0.1:1" };
      expect(created["contexts"]).toEqual([{ ...context, authentication: "TOKEN", usable: true, problem: null }]);
      expect(created.id).toMatch(/^k8s-[0-9a-z]{16}$/);
      expect((await admin.list()).find(({ id }) => id === created.id)).toEqual(created);
    });

    test("refuses names that are taken, empty or too long, until the one who has it is deleted", async () => {
      const first = await admin.create("wanted");
      expect(await admin.refused("create", { name: " wanted ", kubeconfig: unreachableKubeconfig(), force: true })).toMatchObject({
        code: "INVALID_ARGUMENT",
        reason: "NameTaken",
        field: "name",
      });
      const other = await admin.create("other");
      expect(await admin.refused("update", { id: other.id, name: "wanted" })).toMatchObject({ reason: "NameTaken", field: "name" });
      for (const name of ["", "   ", "x".repeat(101), "a\nb"]) {
        const refusal = await admin.refused("create", { name, kubeconfig: unreachableKubeconfig(), force: true });
        expect(refusal).toMatchObject({ code: "INVALID_ARGUMENT", field: "name" });
      }
      expect(await admin.call("delete", { id: first.id })).toMatchObject({ id: first.id, name: "wanted" });
      expect((await admin.create("wanted")).id).not.toBe(first.id);
      expect(await admin.refused("delete", { id: first.id })).toMatchObject({ code: "NOT_FOUND", id: first.id });
      expect((await admin.create("x".repeat(100))).name).toHaveLength(100);
    });

    test("makes a cluster once for one clientRequestId, also where it was deleted since", async () => {
      const input = { clientRequestId: "request-1" };
      const made = await admin.create("once", input);
      expect(await admin.create("once", input)).toEqual(made);
      await admin.call("delete", { id: made.id });
      const again = { name: "once", kubeconfig: unreachableKubeconfig(), force: true, ...input };
      expect(await admin.refused("create", again)).toMatchObject({ code: "NOT_FOUND", reason: "ClusterDeleted" });
    });

    test("has one default, which others take over and which goes last", async () => {
      await deleteAll();
      const current = async () => (await admin.query("{ defaultKubernetesCluster { name } }")).defaultKubernetesCluster?.name ?? null;
      const first = await admin.create("first", { enabled: true });
      expect(await current()).toBeNull();
      await admin.call("setDefault", { id: first.id });
      // Alone it may be what it likes.
      expect(await admin.call("disable", { id: first.id })).toMatchObject({ isDefault: true, enabled: false });
      expect(await admin.call("update", { id: first.id, isDefault: false })).toMatchObject({ isDefault: false });
      expect(await admin.refused("setDefault", { id: first.id })).toMatchObject({ code: "FAILED_PRECONDITION", reason: "ClusterDisabled" });
      await admin.call("update", { id: first.id, isDefault: true, enabled: true });
      const second = await admin.create("second", { enabled: true, isDefault: true });
      expect(await current()).toBe("second");
      expect((await admin.list({ isDefault: true })).map(({ name }) => name)).toEqual(["second"]);
      const kept = { code: "FAILED_PRECONDITION", reason: "DefaultCluster", id: second.id };
      expect(await admin.refused("delete", { id: second.id })).toMatchObject(kept);
      expect(await admin.refused("disable", { id: second.id })).toMatchObject(kept);
      expect(await admin.refused("update", { id: second.id, isDefault: false })).toMatchObject(kept);
      expect(await admin.refused("update", { id: second.id, enabled: false })).toMatchObject(kept);
      const both = { name: "both", kubeconfig: unreachableKubeconfig(), force: true, isDefault: true, enabled: false };
      expect(await admin.refused("create", both)).toMatchObject({ code: "INVALID_ARGUMENT", field: "isDefault" });
      await admin.call("setDefault", { id: first.id });
      expect(await current()).toBe("first");
      await admin.call("delete", { id: second.id });
      await admin.call("delete", { id: first.id });
      expect(await current()).toBeNull();
    });

    test("a disabled cluster is of unknown health, and checked anew when it is enabled", async () => {
      const { id } = await admin.create("switched", { enabled: true });
      expect(await admin.call("disable", { id })).toMatchObject({ enabled: false, healthStatus: "UNKNOWN", healthReason: "Disabled" });
      expect(await admin.call("enable", { id })).toMatchObject({ enabled: true, healthStatus: "UNKNOWN", healthReason: null });
    });

    test("keeps a Prometheus URL that was set by hand, and looks again once it is cleared", async () => {
      const { id } = await admin.create("observed", { discoverPrometheus: false });
      const state = async (input: object) => (await admin.call("update", { id, ...input }))["prometheus"];
      expect(await state({})).toEqual({ url: null, source: null, state: "OFF" });
      const url = "https://prometheus.example.com/base";
      expect(await state({ prometheusUrl: `${url}/` })).toEqual({ url, source: "MANUAL", state: "CONFIGURED" });
      expect(await state({ prometheusUrl: null })).toEqual({ url: null, source: null, state: "PENDING" });
      for (const prometheusUrl of [
        "ftp://x",
        "//x",
        "http://user:secret@x",
        "http://x/?token=1",
        "http://x/#a",
        `http://x/${"y".repeat(2000)}`,
      ]) {
        const refusal = await admin.refused("update", { id, prometheusUrl });
        expect(refusal).toMatchObject({ code: "INVALID_ARGUMENT", field: "prometheusUrl" });
      }
    });

    test("refuses a kubeconfig with so much in it that every event would carry it", async () => {
      const many = Array.from(
        { length: 190 },
        (_, index) =>
          `- {name: ${"n".repeat(245)}${index}, context: {cluster: test-cluster, user: test-user, namespace: ${"n".repeat(60)}}}`,
      );
      const kubeconfig = unreachableKubeconfig().replace("contexts:\n", `contexts:\n${many.map((line) => `  ${line}\n`).join("")}`);
      const refusal = await admin.refused("create", { name: "large", kubeconfig, force: true });
      expect(refusal).toMatchObject({ code: "INVALID_ARGUMENT", reason: "KubeconfigTooLarge", field: "kubeconfig", place: "contexts" });
    });

    test("is found by its key where another subgraph refers to it", async () => {
      const { id } = await admin.create("referred to");
      const representations = [id, "k8s-none"].map((key) => ({ __typename: "KubernetesCluster", id: key }));
      const query =
        "query ($representations: [_Any!]!) { _entities(representations: $representations) { ... on KubernetesCluster { name } } }";
      expect(await admin.query(query, { representations })).toEqual({ _entities: [{ name: "referred to" }, null] });
    });

    test("tells a watch of what enters and leaves its filter, on from where it ended", async () => {
      const { watchCursor } = (await admin.query("{ kubernetesClusters { watchCursor } }")).kubernetesClusters;
      const { id } = await admin.create("watched-1");
      await admin.create("watched-unseen");
      await admin.call("update", { id, prometheusUrl: "http://one" });
      await admin.call("update", { id, name: "no more" });
      await admin.call("update", { id, name: "watched-2" });
      await admin.call("delete", { id });
      const query = `subscription ($after: String, $ids: [ID!]) {
        kubernetesClusterEvents(after: $after, clusterIds: $ids, filter: { name: "WATCHED" }) { type cursor kubernetesCluster { name } } }`;
      const take = async (after: string, count: number) => {
        const events: Array<{ type: string; cursor: string; kubernetesCluster: { name: string } }> = [];
        const request = { query, variables: { after, ids: [id] }, headers: await fleet.headers("viewer") };
        for await (const { data } of replica.subgraph.handler.subscribe(request)) {
          events.push((data as { kubernetesClusterEvents: (typeof events)[number] }).kubernetesClusterEvents);
          if (events.length === count) break;
        }
        return events;
      };
      const all = await take(watchCursor, 5);
      expect(all.map(({ type, kubernetesCluster }) => `${type} ${kubernetesCluster.name}`)).toEqual([
        "ADDED watched-1",
        "MODIFIED watched-1",
        "DELETED no more",
        "ADDED watched-2",
        "DELETED watched-2",
      ]);
      expect(await take(all[1]!.cursor, 3)).toEqual(all.slice(2));
    });

    test("changes the access as a whole: kubeconfig and context", async () => {
      const { id } = await admin.create("moved");
      const two = unreachableKubeconfig({ context: "one" }).replace("current-context: one\n", "");
      const update = (input: object) => admin.call("update", { id, force: true, ...input });
      expect(await update({ kubeconfig: two })).toMatchObject({ context: "one" });
      expect(await admin.refused("update", { id, context: "nowhere", force: true })).toMatchObject({ code: "INVALID_ARGUMENT" });
      expect(await admin.refused("update", { id, kubeconfig: null })).toMatchObject({ code: "INVALID_ARGUMENT", field: "kubeconfig" });
      expect(await admin.refused("update", { id, kubeconfig: "}" })).toMatchObject({ code: "INVALID_ARGUMENT", field: "kubeconfig" });
      expect(await update({ context: null })).toMatchObject({ context: "one" });
      // Without force it is tested first, and nobody listens there.
      const untested = unreachableKubeconfig({ context: "other" });
      expect(await admin.refused("update", { id, kubeconfig: untested })).toMatchObject({ code: "UNAVAILABLE", step: "TCP" });
      expect((await admin.list({ name: "moved" }))[0]).toMatchObject({ context: "one" });
    });

    test("lists by name, with filters, pages and totals", async () => {
      await deleteAll();
      for (const name of ["b-two", "A-one", "c-THREE"]) await admin.create(name);
      await admin.create("d-four", { enabled: true });
      const names = async (filter: Record<string, unknown>) => (await admin.list(filter)).map(({ name }) => name);
      expect(await names({})).toEqual(["A-one", "b-two", "c-THREE", "d-four"]);
      expect(await names({ name: "T" })).toEqual(["b-two", "c-THREE"]);
      expect(await names({ enabled: true })).toEqual(["d-four"]);
      expect(await names({ healthStatuses: ["HEALTHY"] })).toEqual([]);
      const page = `query ($after: String) { kubernetesClusters(first: 2, after: $after, filter: { enabled: false }) {
        nodes { name } totalCount pageInfo { hasNextPage endCursor } totals { nodeCount podCount byHealthStatus { healthStatus count } } } }`;
      const one = (await admin.query(page)).kubernetesClusters;
      expect(one).toMatchObject({ nodes: [{ name: "A-one" }, { name: "b-two" }], totalCount: 3, pageInfo: { hasNextPage: true } });
      expect(one.totals).toMatchObject({ nodeCount: 0, podCount: 0 });
      expect(one.totals.byHealthStatus).toContainEqual({ healthStatus: "UNKNOWN", count: 3 });
      expect(one.totals.byHealthStatus).toHaveLength(5);
      const two = (await admin.query(page, { after: one.pageInfo.endCursor })).kubernetesClusters;
      expect(two).toMatchObject({ nodes: [{ name: "c-THREE" }], totalCount: 3, pageInfo: { hasNextPage: false } });
    });

    describe("rights", () => {
      test("let viewers read, and only admins change anything or read a kubeconfig", async () => {
        const { id } = await admin.create("guarded");
        for (const role of ["viewer", "operator"] as const) {
          const user = new KubernetesClustersUser(fleet, replica, role);
          expect((await user.query("query ($id: ID!) { kubernetesCluster(id: $id) { name } }", { id })).kubernetesCluster.name).toBe(
            "guarded",
          );
          expect((await user.list({ name: "guarded" })).length).toBe(1);
          for (const mutation of ["update", "delete", "setDefault", "enable", "disable"] as const)
            expect(await user.refused(mutation, { id })).toMatchObject({ code: "FORBIDDEN", requiredRole: "admin" });
          expect(await user.refused("create", { name: "mine", kubeconfig: "x" })).toMatchObject({ code: "FORBIDDEN" });
          const answer = await fleet.graphql(replica, role, "query ($id: ID!) { kubernetesCluster(id: $id) { name kubeconfig } }", { id });
          expect(answer.data).toEqual({ kubernetesCluster: { name: "guarded", kubeconfig: null } });
          expect(answer.errors?.[0]?.extensions).toMatchObject({ code: "FORBIDDEN", requiredRole: "admin" });
        }
        const nobody = new KubernetesClustersUser(fleet, replica, null);
        await expect(nobody.list()).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
        expect(await nobody.refused("delete", { id })).toMatchObject({ code: "UNAUTHENTICATED" });
      });

      test("an admin gets the kubeconfig back as YAML in base64, however it was given", async () => {
        const kubeconfig = unreachableKubeconfig({ token: "a-token-of-the-cluster" });
        for (const given of [
          kubeconfig,
          Buffer.from(kubeconfig)
            .toString("base64")
            .replace(/(.{76})/g, "$1\n"),
        ]) {
          const { id } = await admin.create(`kept-${given.length}`, { kubeconfig: given });
          const { kubernetesCluster } = await admin.query("query ($id: ID!) { kubernetesCluster(id: $id) { kubeconfig } }", { id });
          expect(Buffer.from(kubernetesCluster.kubeconfig, "base64").toString()).toBe(kubeconfig);
        }
      });
    });
  });
}
