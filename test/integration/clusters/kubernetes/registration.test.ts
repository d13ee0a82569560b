import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { clusterManifest } from "../../../../cli/cluster/manifest.ts";
import { ClustersFleet, type ClustersReplica } from "../../../support/clusters-fleet.ts";
import { kubernetesPrograms } from "../../../support/kubernetes/programs.ts";
import { TestKubernetes } from "../../../support/kubernetes/test-kubernetes.ts";
import { fillTokenSecret } from "../../../support/kubernetes/token-secrets.ts";
import { KubernetesClustersUser } from "../../../support/kubernetes-clusters.ts";
import { describeWithPeers } from "../../../support/peers.ts";

const run = promisify(execFile);

describeWithPeers("registering a real Kubernetes cluster", ["kubernetes"], () => {
  let cluster: TestKubernetes;
  let fleet: ClustersFleet;
  let replica: ClustersReplica;
  let admin: KubernetesClustersUser;
  let dir: string;

  beforeAll(async () => {
    cluster = await TestKubernetes.start();
    fleet = await ClustersFleet.open("SQLite");
    replica = await fleet.replica();
    admin = new KubernetesClustersUser(fleet, replica);
    dir = await mkdtemp(join(tmpdir(), "fleetgraph-registration-"));
  }, 60_000);
  afterAll(async () => {
    await fleet?.close();
    await cluster?.stop();
    if (dir) await rm(dir, { recursive: true, force: true });
  });

  test("the manifest is applied by kubectl, and its own commands make a kubeconfig that reads, and reads no secrets", async () => {
    const namespace = "fleet-readers";
    const manifest = join(dir, "fleetgraph-account.yaml");
    await writeFile(manifest, clusterManifest(namespace));
    await writeFile(join(dir, "admin.yaml"), cluster.kubeconfig(), { mode: 0o600 });
    const path = `${dirname((await kubernetesPrograms()).kubectl)}${delimiter}${process.env["PATH"]}`;
    const shell = (command: string, kubeconfig = "admin.yaml") =>
      run("sh", ["-c", command], { cwd: dir, env: { ...process.env, PATH: path, KUBECONFIG: join(dir, kubeconfig) } });
    await shell("kubectl apply -f fleetgraph-account.yaml");
    // Nobody fills the token in here: there is no controller manager.
    const make = /^#\s+(\(umask 077; .*\))$/m.exec(await readFile(manifest, "utf8"))?.[1] as string;
    await expect(shell(make)).rejects.toMatchObject({ stderr: expect.stringContaining("The token is not there yet") });
    const token = await fillTokenSecret(cluster, namespace, "fleetgraph-token");
    await shell(make);
    const kubeconfig = await readFile(join(dir, "fleetgraph.kubeconfig"), "utf8");
    expect(kubeconfig).toContain(token);
    expect((await shell("kubectl get namespaces", "fleetgraph.kubeconfig")).stdout).toContain(namespace);
    const kinds = ["nodes", "namespaces", "pods", "services", "endpoints", "events", "apps/deployments", "networking.k8s.io/ingresses"];
    const allowed = [...kinds.flatMap((kind) => [`list ${kind}`, `watch ${kind}`]), "get pods:log", "get services:proxy"];
    for (const asked of allowed) expect(`${asked}: ${await mayDo(namespace, asked)}`).toBe(`${asked}: true`);
    for (const asked of ["get secrets", "list secrets", "get configmaps", "delete pods", "create pods:exec", "create services:proxy"])
      expect(`${asked}: ${await mayDo(namespace, asked)}`).toBe(`${asked}: false`);
    expect(await admin.call("create", { name: "by manifest", kubeconfig })).toMatchObject({
      context: "fleetgraph",
      healthStatus: "UNKNOWN",
    });
  }, 60_000);

  /** Whether the account may do it in every namespace: "get pods:log", "list apps/deployments". */
  async function mayDo(namespace: string, asked: string): Promise<boolean> {
    const [, verb, group, resource, subresource] = /^(\w+) (?:(.+)\/)?(\w+)(?::(\w+))?$/.exec(asked) ?? [];
    const spec = { user: `system:serviceaccount:${namespace}:fleetgraph`, resourceAttributes: { verb, group, resource, subresource } };
    const review = { apiVersion: "authorization.k8s.io/v1", kind: "SubjectAccessReview", spec };
    return (await cluster.mustRequest("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)).status.allowed;
  }

  test("a connection that does not work is told with its step, and nothing is stored; force stores it", async () => {
    const wrong = cluster.kubeconfig({ credentials: { token: "wrong" } });
    const input = { name: "wrong token", kubeconfig: wrong };
    expect(await admin.refused("create", input)).toMatchObject({ code: "UNAVAILABLE", step: "AUTHENTICATION", reason: "Unauthorized" });
    expect(await admin.list({ name: "wrong token" })).toEqual([]);
    const stored = await admin.call("create", { ...input, force: true });
    const [before] = await admin.list({ name: "wrong token" });
    expect(await admin.refused("update", { id: stored.id, name: "renamed", kubeconfig: wrong })).toMatchObject({ step: "AUTHENTICATION" });
    expect((await admin.list({ name: "wrong token" }))[0]?.["contexts"]).toEqual(before?.["contexts"]);
    expect(await admin.call("update", { id: stored.id, kubeconfig: cluster.kubeconfig({ context: "right" }) })).toMatchObject({
      context: "right",
    });
  });

  test("programs and files are refused, with what to do instead", async () => {
    const kubeconfig = (user: string) => cluster.kubeconfig().replace(/token: .*/, user);
    for (const [user, reason] of [
      ["exec: { command: aws, apiVersion: client.authentication.k8s.io/v1 }", "ExecPluginRefused"],
      ["tokenFile: /var/run/token", "FileReferenceRefused"],
      ["client-certificate: /etc/certificate.pem", "FileReferenceRefused"],
    ] as const) {
      const answer = await admin.call("create", { name: "refused", kubeconfig: kubeconfig(user) }).catch((error: Error) => error);
      expect(answer).toMatchObject({ code: "INVALID_ARGUMENT", reason, field: "kubeconfig" });
      expect((answer as Error).message).toContain("fleetgraph cluster manifest");
    }
  });
});
