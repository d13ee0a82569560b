import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createLogger } from "../../../../platform/observability/log.ts";
import { type ConnectionTest, testConnection } from "../../../../subgraphs/kit/kubernetes/connection-test.ts";
import { parseKubeconfig } from "../../../../subgraphs/kit/kubernetes/kubeconfig.ts";
import { openKubernetes } from "../../../../subgraphs/kit/kubernetes/kubernetes-client.ts";
import { resourcePath } from "../../../../subgraphs/kit/kubernetes/resource-path.ts";
import {
  type KubernetesApi,
  type KubernetesFailure,
  type KubernetesObject,
  NAMESPACES,
  NODES,
  PODS,
  type WatchLine,
} from "../../../../subgraphs/kit/kubernetes/types.ts";
import type { KubeconfigOptions } from "../../../support/kubernetes/kubeconfig.ts";
import { TestAuthority } from "../../../support/kubernetes/test-authority.ts";
import { TestKubernetes } from "../../../support/kubernetes/test-kubernetes.ts";
import { describeWithPeers } from "../../../support/peers.ts";

const log = createLogger({ name: "test", level: "silent" });
const never = new AbortController().signal;
const HOUR_MS = 3_600_000;

interface ConfigMap extends KubernetesObject {
  data: Record<string, string>;
}

const CONFIG_MAPS = { group: "", version: "v1", plural: "configmaps", namespaced: true };

describeWithPeers("a real API server", ["kubernetes"], () => {
  let cluster: TestKubernetes;
  let api: KubernetesApi;

  beforeAll(async () => {
    // Without its cache of watches: after a compaction an old resourceVersion is gone at once.
    cluster = await TestKubernetes.start({ watchCache: false });
    api = openKubernetes(parseKubeconfig(cluster.kubeconfig()).access(null), { log });
    for (const name of ["one", "two", "three"]) await cluster.mustRequest("POST", "/api/v1/nodes", { metadata: { name } });
  });

  afterAll(async () => {
    await api?.close();
    await cluster?.stop();
  });

  function test(options: KubeconfigOptions = {}): Promise<ConnectionTest> {
    return testConnection(parseKubeconfig(cluster.kubeconfig(options)).access(null), { log, signal: never });
  }

  async function grant(user: string, ...resources: string[]): Promise<void> {
    const metadata = { name: `reads-${resources.join("-")}` };
    const rules = [{ apiGroups: [""], resources, verbs: ["get", "list"] }];
    await cluster.mustRequest("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", { metadata, rules });
    await cluster.mustRequest("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", {
      metadata,
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: metadata.name },
      subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name: user }],
    });
  }

  describe("is connected to", () => {
    it("by token and by client certificate", async () => {
      const certificate = await cluster.clientCertificate({ commonName: "admin", organizations: ["system:masters"] });
      for (const credentials of [{ token: cluster.adminToken }, certificate]) {
        const found = await test({ credentials });
        expect(found).toMatchObject({ version: { gitVersion: expect.stringMatching(/^v1\./) }, nodeCount: 3 });
        expect(found.latencySeconds).toBeGreaterThan(0);
      }
    });

    it("without checking its certificate, where the kubeconfig says so", async () => {
      const found = await test({ caPem: null, cluster: { "insecure-skip-tls-verify": true } });
      expect(found.nodeCount).toBe(3);
    });

    it("by an account that may not list nodes: how many there are is not known", async () => {
      await grant("namespaces-only", "namespaces");
      const found = await test({ credentials: { token: cluster.issueToken({ user: "namespaces-only" }) } });
      expect(found.nodeCount).toBeNull();
    });

    it.each<[string, () => Promise<KubeconfigOptions>, Partial<KubernetesFailure>, RegExp]>([
      [
        "a wrong token",
        async () => ({ credentials: { token: "wrong" } }),
        { step: "AUTHENTICATION", reason: "Unauthorized", status: 401 },
        /does not accept the kubeconfig's token/,
      ],
      [
        "a revoked token",
        async () => {
          const token = cluster.issueToken({ user: "gone" });
          cluster.revokeToken(token);
          return { credentials: { token } };
        },
        { step: "AUTHENTICATION", reason: "Unauthorized" },
        /wrong, expired or revoked/,
      ],
      [
        "an expired client certificate",
        async () => {
          const notBefore = new Date(Date.now() - 2 * HOUR_MS);
          const notAfter = new Date(Date.now() - HOUR_MS);
          return { credentials: await cluster.clientCertificate({ commonName: "admin", notBefore, notAfter }) };
        },
        { step: "AUTHENTICATION", reason: "ClientCertificateRefused", status: 401 },
        /client certificate expired at \d{4}-/,
      ],
      [
        "another authority's client certificate",
        async () => ({ credentials: await (await TestAuthority.create("other")).sign({ commonName: "admin" }) }),
        { step: "AUTHENTICATION", reason: "ClientCertificateRefused" },
        /from another authority/,
      ],
      [
        "the wrong authority",
        async () => ({ caPem: (await TestAuthority.create("wrong")).caPem }),
        { step: "TLS", reason: "CertificateUntrusted", status: null },
        /not from the authority in the kubeconfig/,
      ],
      [
        "another name",
        async () => ({ cluster: { "tls-server-name": "other.example" } }),
        { step: "TLS", reason: "CertificateNameMismatch" },
        /other names/,
      ],
      [
        "no rights",
        async () => ({ credentials: { token: cluster.issueToken({ user: "nobody" }) } }),
        { step: "AUTHORIZATION", reason: "Forbidden", status: 403 },
        /login works.*namespaces.*fleetgraph cluster manifest/,
      ],
      ["no login", async () => ({ credentials: null }), { step: "AUTHORIZATION", reason: "Forbidden" }, /anonymous/],
    ])("not with %s", async (_what, options, expected, words) => {
      await expect(test(await options())).rejects.toMatchObject({
        code: "UNAVAILABLE",
        ...expected,
        message: expect.stringMatching(words),
        details: expect.objectContaining({ step: expected.step }),
      });
    });
  });

  it("lists in pages, whole or metadata alone", async () => {
    const first = await api.list(NODES, { signal: never, limit: 2 });
    expect(first).toMatchObject({ items: [{ metadata: { name: "one" } }, { metadata: { name: "three" } }], remainingItemCount: 1 });
    const second = await api.list(NODES, { signal: never, limit: 2, continueToken: first.continueToken ?? "", metadataOnly: true });
    expect(second).toMatchObject({ items: [{ kind: "PartialObjectMetadata", metadata: { name: "two" } }], continueToken: null });
    expect(Object.keys(second.items[0] ?? {})).not.toContain("status");
  });

  it("selects by labels, fields and namespace", async () => {
    const by = { namespace: "default", labelSelector: "color in (red, blue),!gone", fieldSelector: "metadata.name!=second" };
    for (const [name, color] of [
      ["first", "red"],
      ["second", "red"],
      ["third", "green"],
    ] as const) {
      const body = { metadata: { name, labels: { color } }, data: {} };
      await api.write("POST", resourcePath(CONFIG_MAPS, "default"), { signal: never, body });
    }
    const { items } = await api.list(CONFIG_MAPS, { signal: never, ...by });
    expect(items.map(({ metadata }) => metadata.name)).toEqual(["first"]);
  });

  it("reads and writes objects, and says why it does not", async () => {
    const path = resourcePath(CONFIG_MAPS, "default", "written");
    const body = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "written" }, data: { ä: "1" } };
    await expect(api.write("POST", resourcePath(CONFIG_MAPS, "default"), { signal: never, body })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      reason: "Invalid",
      status: 422,
    });
    const data = { a: "ü".repeat(10_000) };
    const made = await api.write<ConfigMap>("POST", resourcePath(CONFIG_MAPS, "default"), { signal: never, body: { ...body, data } });
    expect((await api.get<ConfigMap>(path, { signal: never })).data).toEqual(data);
    const query = { fieldManager: "test", force: true };
    const apply = { signal: never, body: { ...body, data: { a: "2" } }, contentType: "application/apply-patch+yaml", query };
    const applied = await api.write<ConfigMap>("PATCH", path, apply);
    expect(applied.data).toEqual({ a: "2" });
    await expect(api.write("PUT", path, { signal: never, body: made })).rejects.toMatchObject({ code: "CONFLICT", reason: "Conflict" });
    await api.write("DELETE", path, { signal: never, body: {} });
    await expect(api.get(path, { signal: never })).rejects.toMatchObject({ code: "NOT_FOUND", reason: "NotFound", status: 404 });
    await expect(api.list(PODS, { signal: never, labelSelector: "a==b==c" })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    expect(await api.text("/healthz", { signal: never })).toEqual({ status: 200, body: "ok" });
  });

  it("refuses an account's reading as FAILED_PRECONDITION: it is the cluster's account that may not", async () => {
    const access = parseKubeconfig(cluster.kubeconfig({ credentials: { token: cluster.issueToken({ user: "nobody" }) } })).access(null);
    const other = openKubernetes(access, { log });
    try {
      const failure = { code: "FAILED_PRECONDITION", step: "AUTHORIZATION", reason: "Forbidden" };
      await expect(other.list(PODS, { signal: never })).rejects.toMatchObject(failure);
      await expect(other.watch(PODS, { signal: never, resourceVersion: "0" }).next()).rejects.toMatchObject(failure);
    } finally {
      await other.close();
    }
  });

  it("is watched from a resourceVersion on, until it is compacted away", async () => {
    const { resourceVersion } = await api.list(CONFIG_MAPS, { signal: never, limit: 1 });
    const path = resourcePath(CONFIG_MAPS, "default");
    await api.write("POST", path, { signal: never, body: { metadata: { name: "seen" }, data: {} } });
    await api.write("DELETE", `${path}/seen`, { signal: never, body: {} });
    const over = new AbortController();
    const lines: WatchLine<KubernetesObject>[] = [];
    for await (const line of api.watch(CONFIG_MAPS, { resourceVersion, signal: over.signal, fieldSelector: "metadata.name=seen" })) {
      lines.push(line);
      if (line.type === "DELETED") over.abort();
    }
    expect(lines.map(({ type }) => type)).toEqual(["ADDED", "DELETED"]);

    const { continueToken } = await api.list(NAMESPACES, { signal: never, limit: 1 });
    await api.write("POST", path, { signal: never, body: { metadata: { name: "later" }, data: {} } });
    await cluster.compact();
    const watching = api.watch(CONFIG_MAPS, { resourceVersion, signal: never }).next();
    await expect(watching).rejects.toMatchObject({ code: "CURSOR_EXPIRED", reason: "Gone", isGone: true });
    const listing = api.list(NAMESPACES, { signal: never, continueToken: continueToken ?? "" });
    await expect(listing).rejects.toMatchObject({ code: "CURSOR_EXPIRED", isGone: true });
  });

  it("ends a watch at its timeoutSeconds, which is no error", async () => {
    const { resourceVersion } = await api.list(PODS, { signal: never });
    const watching = api.watch(PODS, { resourceVersion, signal: never, timeoutSeconds: 1 });
    await expect(watching.next()).resolves.toEqual({ done: true, value: undefined });
  });

  it("that stops answering is given up at the deadline, and used again when it is back", async () => {
    const { resourceVersion } = await api.list(PODS, { signal: never });
    const own = openKubernetes(parseKubeconfig(cluster.kubeconfig()).access(null), { log, watchGraceMs: 300, connections: 1 });
    try {
      const watching = own.watch(PODS, { resourceVersion, signal: never, timeoutSeconds: 1 }).next();
      await own.version({ signal: never });
      cluster.freeze();
      await expect(own.version({ signal: never, timeoutMs: 300 })).rejects.toMatchObject({ reason: "RequestTimeout" });
      await expect(watching).rejects.toMatchObject({ code: "UNAVAILABLE", reason: "RequestTimeout" });
    } finally {
      cluster.thaw();
      await own.version({ signal: never });
      await own.close();
    }
  });

  it("that is killed breaks its watches off", async () => {
    const { resourceVersion } = await api.list(PODS, { signal: never });
    const watching = api.watch(PODS, { resourceVersion, signal: never }).next();
    watching.catch(() => undefined);
    await api.version({ signal: never });
    await cluster.kill();
    await expect(watching).rejects.toMatchObject({ code: "UNAVAILABLE", reason: "ConnectionLost" });
    await expect(api.version({ signal: never })).rejects.toMatchObject({ step: "TCP", reason: "ConnectionRefused" });
  });
});
