import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { describeInCampaigns } from "../../support/in-campaigns.ts";
import { deletePods, makeNode, makePods, setNodeReady } from "../../support/kubernetes/objects.ts";
import { TestEtcd } from "../../support/kubernetes/test-etcd.ts";
import { TestKubernetes } from "../../support/kubernetes/test-kubernetes.ts";
import { fillTokenSecret } from "../../support/kubernetes/token-secrets.ts";
import { until } from "../../support/until.ts";

const READER = ["create", "clusterrole", "reader", "--verb=get,list,watch", "--resource=pods,nodes"];

describeInCampaigns("two Kubernetes clusters", "kubernetes", () => {
  let etcd: TestEtcd;
  let first: TestKubernetes;
  let second: TestKubernetes;
  /** Of a token that was revoked, which takes its time. */
  let isRefused: (() => Promise<boolean>) | undefined;

  beforeAll(async () => {
    etcd = await TestEtcd.start();
    [first, second] = await Promise.all([TestKubernetes.start({ etcd }), TestKubernetes.start({ etcd, watchCache: false })]);
    await first.kubectl(READER);
  });
  afterAll(async () => {
    await Promise.all([first?.stop(), second?.stop()]);
    await etcd?.stop();
  });

  /** What a user of kubectl may do by himself: null, or what it says. */
  const asUser = (cluster: TestKubernetes, kubeconfigArgs: string[], args: string[]) =>
    cluster.kubectl([...kubeconfigArgs, ...args]).catch((error: Error) => error.message);

  it("keep objects of their own", async () => {
    expect(await first.kubectl(["create", "namespace", "shop"])).toContain("namespace/shop created");
    expect((await first.request("GET", "/api/v1/namespaces/shop")).status).toBe(200);
    expect((await second.request("GET", "/api/v1/namespaces/shop")).status).toBe(404);
  });

  it("take tokens and do what RBAC says", async () => {
    const token = first.issueToken({ user: "ann", groups: ["readers"] });
    const listPods = () => asUser(first, ["--token", token], ["get", "pods", "-o", "name"]);
    expect(await listPods()).toContain('User "ann" cannot list resource "pods"');
    await first.kubectl(["create", "clusterrolebinding", "readers", "--clusterrole=reader", "--group=readers"]);
    await until(async () => (await listPods()) === "", "the role");
    first.revokeToken(token);
    isRefused = async () => (await listPods()).includes("You must be logged in");
  });

  it("take client certificates while they last", async () => {
    await first.kubectl(["create", "clusterrolebinding", "ben", "--clusterrole=reader", "--user=ben"]);
    const valid = await first.clientCertificate({ commonName: "ben" });
    const expired = await first.clientCertificate({ commonName: "ben", notAfter: new Date(Date.now() - 1_000) });
    const answerTo = async (credentials: typeof valid) => {
      const kubeconfig = first.kubeconfig({ credentials });
      return first.kubectl(["get", "pods", "-o", "name"], { kubeconfig }).catch((error: Error) => error.message);
    };
    await until(async () => (await answerTo(valid)) === "", "the role");
    expect(await answerTo(expired)).toContain("You must be logged in");
  });

  it("take the token of a service account that stands in a Secret", async () => {
    const input = JSON.stringify({
      apiVersion: "v1",
      kind: "Secret",
      type: "kubernetes.io/service-account-token",
      metadata: { name: "robot-token", annotations: { "kubernetes.io/service-account.name": "robot" } },
    });
    await first.kubectl(["create", "serviceaccount", "robot"]);
    await first.kubectl(["apply", "-f", "-"], { input });
    const token = await fillTokenSecret(first, "default", "robot-token");
    expect(await asUser(first, ["--token", token], ["get", "nodes"])).toContain('User "system:serviceaccount:default:robot" cannot list');
  });

  it("have nodes and pods made by hand", async () => {
    const machineId = "4c4c4544004a";
    await makeNode(first, "node-1", { addresses: ["192.0.2.10"], machineId, providerId: "test://1", labels: { zone: "a" } });
    expect(await first.kubectl(["get", "nodes", "--no-headers"])).toMatch(/^node-1 +Ready /);
    await setNodeReady(first, "node-1", false);
    expect(await first.kubectl(["get", "nodes", "--no-headers", "-l", "zone=a"])).toMatch(/^node-1 +NotReady /);
    const names = await makePods(first, 3, { prefix: "web", nodeName: "node-1", phase: "Running", labels: { app: "web" } });
    expect(names).toEqual(["web-0", "web-1", "web-2"]);
    expect((await first.kubectl(["get", "pods", "-l", "app=web", "--no-headers"])).match(/Running/g)).toHaveLength(3);
    await deletePods(first, "default", names);
    expect(await first.kubectl(["get", "pods", "-o", "name"])).toBe("");
  });

  it("say Expired to who asks for what etcd has forgotten", async () => {
    const { metadata } = await second.mustRequest("GET", "/api/v1/pods?limit=1");
    await makePods(second, 2);
    await second.compact();
    const { body } = await second.request("GET", `/api/v1/pods?watch=true&timeoutSeconds=5&resourceVersion=${metadata.resourceVersion}`);
    expect(JSON.stringify(body)).toContain('"reason":"Expired"');
  });

  it("are killed and come back with their objects; a frozen one takes connections and says nothing", async () => {
    await makePods(second, 1, { prefix: "kept" });
    await second.kill();
    await expect(second.request("GET", "/version")).rejects.toThrow("ECONNREFUSED");
    expect((await first.request("GET", "/version")).status).toBe(200);
    await second.start();
    expect((await second.request("GET", "/api/v1/namespaces/default/pods/kept-0")).status).toBe(200);

    second.freeze();
    // The signal takes a moment to reach all of its threads.
    await delay(500);
    const answer = second.request("GET", "/version");
    expect(await Promise.race([answer, delay(300, "nothing")])).toBe("nothing");
    second.thaw();
    expect((await answer).body.gitVersion).toMatch(/^v1\./);
  });

  it("refuse a revoked token after a while", async () => {
    await until(() => isRefused?.() ?? true, "the end of the token");
  });
});
