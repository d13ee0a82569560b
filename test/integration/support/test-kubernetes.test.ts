import { afterAll, beforeAll, expect, it } from "vitest";
import { TestEtcd } from "../../support/kubernetes/test-etcd.ts";
import { TestKubernetes } from "../../support/kubernetes/test-kubernetes.ts";
import { describeWithPeers } from "../../support/peers.ts";
import { until } from "../../support/until.ts";

describeWithPeers("two Kubernetes clusters", "kubernetes", () => {
  let etcd: TestEtcd;
  let clusters: [TestKubernetes, TestKubernetes];

  beforeAll(async () => {
    etcd = await TestEtcd.start();
    clusters = await Promise.all([TestKubernetes.start({ etcd }), TestKubernetes.start({ etcd, watchCache: false })]);
  });
  afterAll(async () => {
    await Promise.all(clusters?.map((cluster) => cluster.stop()) ?? []);
    await etcd?.stop();
  });

  it("keep objects of their own", async () => {
    const [first, second] = clusters;
    expect(await first.kubectl(["create", "namespace", "shop"])).toContain("namespace/shop created");
    expect((await first.request("GET", "/api/v1/namespaces/shop")).status).toBe(200);
    expect((await second.request("GET", "/api/v1/namespaces/shop")).status).toBe(404);
  });

  it("take tokens until they are revoked, and do what RBAC says", async () => {
    const [cluster] = clusters;
    const token = cluster.issueToken({ user: "ann", groups: ["readers"] });
    const as = (args: string[]) => cluster.kubectl(["--token", token, ...args]);
    await expect(as(["get", "pods"])).rejects.toThrow("forbidden");
    await cluster.kubectl(["create", "clusterrolebinding", "readers", "--clusterrole=view", "--group=readers"]);
    await until(
      () =>
        as(["get", "pods", "-o", "name"]).then(
          (names) => names === "",
          () => false,
        ),
      "the role",
    );
  });
});
