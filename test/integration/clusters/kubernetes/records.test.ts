import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createLogger } from "../../../../platform/observability/log.ts";
import { type RequestContext, systemContext } from "../../../../platform/request-context.ts";
import { SecretKeys } from "../../../../platform/secrets/secret-keys.ts";
import { openClustersStore } from "../../../../subgraphs/clusters/main.ts";
import { AccessCheck } from "../../../../subgraphs/clusters/services/kubernetes/access-check.ts";
import { ClusterClaims } from "../../../../subgraphs/clusters/services/kubernetes/cluster-claims.ts";
import type { FoundPrometheus } from "../../../../subgraphs/clusters/services/kubernetes/cluster-types.ts";
import { ClusterWriter } from "../../../../subgraphs/clusters/services/kubernetes/cluster-writer.ts";
import { KubernetesHealthWriter } from "../../../../subgraphs/clusters/services/kubernetes/health-writer.ts";
import { KubeconfigSecrets } from "../../../../subgraphs/clusters/services/kubernetes/kubeconfig-secrets.ts";
import { KubernetesRegistry } from "../../../../subgraphs/clusters/services/kubernetes/registry.ts";
import type { Store } from "../../../../subgraphs/kit/store/orm.ts";
import { unreachableKubeconfig } from "../../../support/kubernetes-clusters.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import { temporaryDatabases } from "../../../support/temporary-databases.ts";

const log = createLogger({ name: "test", level: "silent" });

/** What the services write, without the checks that would write something of their own. */
for (const variant of ["SQLite", "PostgreSQL"] as const) {
  describeWithPeers(`records of Kubernetes clusters on ${variant}`, variant === "SQLite" ? [] : ["postgresql"], () => {
    const closers: Array<() => unknown> = [];
    let store: Store;
    let ctx: RequestContext;
    let registry: KubernetesRegistry;
    let health: KubernetesHealthWriter;
    let claims: ClusterClaims;

    beforeAll(async () => {
      const dir = await mkdtemp(join(tmpdir(), "fleetgraph-records-"));
      closers.push(() => rm(dir, { recursive: true, force: true }));
      const databases = variant === "SQLite" ? null : await temporaryDatabases(["clusters"]);
      if (databases) closers.push(() => databases.drop());
      store = await openClustersStore(databases?.urls.clusters ?? `sqlite:${join(dir, "clusters.db")}`, log);
      closers.push(() => store.close());
      ctx = systemContext("test", new AbortController().signal, log);
      const writer = new ClusterWriter(store);
      registry = new KubernetesRegistry(
        writer,
        new KubeconfigSecrets(store, await SecretKeys.open(join(dir, "secrets"))),
        new AccessCheck(),
      );
      health = new KubernetesHealthWriter(writer);
      claims = new ClusterClaims(store);
    });
    afterAll(async () => {
      for (const close of closers.reverse()) await close();
    });

    const create = async (name: string, enabled = true) =>
      (await registry.create(ctx, { name, kubeconfig: unreachableKubeconfig(), force: true, enabled })).id;
    const events = async (id: string) =>
      (
        await store.sql.query<{ type: string; object: string }>("select type, object from event_log where object_id = ? order by seq", [id])
      ).map(({ type, object }) => `${type} ${(JSON.parse(object) as { healthStatus: string }).healthStatus}`);

    test("what is observed becomes one event, and none where nothing differs", async () => {
      const id = await create("observed");
      const about = { id, revision: 1 };
      const report = {
        healthStatus: "WARNING" as const,
        healthReason: "NodesNotReady",
        healthMessage: "1 of 3.",
        nodeCount: 3,
        podCount: null,
      };
      const first = await health.record(about, { ...report, connectedAt: new Date(1_800_000_000_000) });
      expect(first).toMatchObject({ ...report, lastConnectedAt: "2027-01-15T08:00:00.000Z" });
      const second = await health.record(about, report);
      expect(second).toEqual(first);
      const third = await health.record(about, { healthStatus: "HEALTHY", healthReason: null, healthMessage: null });
      expect(third).toMatchObject({ healthStatus: "HEALTHY", nodeCount: 3, lastConnectedAt: first?.lastConnectedAt });
      expect(third!.healthSince > first!.healthSince).toBe(true);
      expect(await events(id)).toEqual(["ADDED UNKNOWN", "MODIFIED WARNING", "MODIFIED HEALTHY"]);
    });

    test("nothing is written of a cluster that is disabled, gone, or reached in another way by now", async () => {
      const id = await create("former");
      await registry.update(ctx, id, { kubeconfig: unreachableKubeconfig(), force: true });
      expect(await health.record({ id, revision: 1 }, { healthStatus: "HEALTHY" })).toBeNull();
      await registry.disable(ctx, id);
      expect(await health.record({ id, revision: 3 }, { healthStatus: "HEALTHY" })).toBeNull();
      await registry.enable(ctx, id);
      expect(await health.record({ id, revision: 4 }, { healthStatus: "HEALTHY" })).toMatchObject({ healthStatus: "HEALTHY" });
      await registry.delete(ctx, id);
      expect(await health.record({ id, revision: 5 }, { healthStatus: "ERROR" })).toBeNull();
      expect((await events(id)).at(-1)).toBe("DELETED HEALTHY");
    });

    describe("a claim", () => {
      test("is one claimant's at a time, until its end or its release", async () => {
        const id = await create("claimed");
        const take = (by: string, ttlMs = 60_000) => claims.claimDiscovery(id, by, ttlMs);
        const names = ["a", "b", "c", "d"];
        const outcomes = await Promise.all(names.map((by) => take(by)));
        expect(outcomes.filter(Boolean)).toHaveLength(1);
        const holder = names[outcomes.indexOf(true)] as string;
        const other = names[(outcomes.indexOf(true) + 1) % 4] as string;
        expect(await take(holder)).toBe(true);
        expect(await claims.isDiscoveryClaimed(id)).toBe(true);
        // The other kind of work is another claim.
        expect(await claims.claimChecks(other, 60_000)).toContain(id);
        expect(await claims.claimChecks("another", 60_000)).not.toContain(id);
        await claims.releaseDiscovery(id, other);
        expect(await take(other)).toBe(false);
        await claims.releaseDiscovery(id, holder);
        expect(await claims.isDiscoveryClaimed(id)).toBe(false);
        expect(await take(other, 0)).toBe(true);
        expect(await take(holder)).toBe(true);
      });

      test("is of clusters that are enabled, and over when the access changes", async () => {
        const id = await create("unclaimed", false);
        const take = (by: string) => claims.claimDiscovery(id, by, 60_000);
        expect(await take("a")).toBe(false);
        await registry.enable(ctx, id);
        expect(await take("a")).toBe(true);
        await registry.update(ctx, id, { kubeconfig: unreachableKubeconfig(), force: true });
        expect(await take("b")).toBe(true);
      });
    });

    test("a search that is under way ends as cancelled where it will not be heard of any more", async () => {
      const startedAt = "2027-01-01T00:00:00.000Z";
      const lastRun = { startedAt, finishedAt: null, outcome: null, message: null };
      const searching: FoundPrometheus = { state: "SEARCHING", url: "http://former", lastRun, candidates: [] };
      const ended = { lastRun: { startedAt, outcome: "CANCELLED", finishedAt: expect.any(String), message: expect.any(String) } };
      const search = async (name: string) => {
        const id = await create(name);
        expect((await health.recordPrometheus({ id, revision: 1 }, searching))?.prometheus.state).toBe("SEARCHING");
        return id;
      };
      const moved = await search("moved");
      const changed = await registry.update(ctx, moved, { kubeconfig: unreachableKubeconfig(), force: true });
      expect(changed.prometheus).toMatchObject({ state: "PENDING", url: "http://former", ...ended });
      const manual = await search("manual");
      const set = await registry.update(ctx, manual, { prometheusUrl: "http://mine" });
      expect(set.prometheus).toMatchObject({ state: "CONFIGURED", source: "MANUAL", url: "http://mine", ...ended });
      expect(await health.recordPrometheus({ id: manual, revision: 1 }, searching)).toBeNull();
      const disabled = await search("disabled");
      expect((await registry.disable(ctx, disabled)).prometheus).toMatchObject(ended);
      const deleted = await search("deleted");
      expect((await registry.delete(ctx, deleted)).prometheus).toMatchObject(ended);
    });
  });
}
