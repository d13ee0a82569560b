import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { DEFAULT_HEALTH_CHECK_CONFIG } from "../../../../subgraphs/clusters/services/kubernetes/health/health-checks.ts";
import { CLUSTERS_VARIANTS, ClustersFleet, type ClustersReplica } from "../../../support/clusters-fleet.ts";
import { inCampaigns } from "../../../support/in-campaigns.ts";
import { AnsweringClusters } from "../../../support/kubernetes/answering-clusters.ts";
import { writeKubeconfig } from "../../../support/kubernetes/kubeconfig.ts";
import { HangingServer, type HangsAfter } from "../../../support/kubernetes/odd-servers.ts";
import { KubernetesClustersUser } from "../../../support/kubernetes-clusters.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import { until } from "../../../support/until.ts";

const credentials = { token: "a-token" };
/** Most of them in the middle of an answer, which nothing but the check's own deadline ends. */
const STAGES: HangsAfter[] = ["connection", "handshake", ...Array<HangsAfter>(8).fill("headers")];

describe("50 clusters, 10 of them hanging", () => {
  const hanging: HangingServer[] = [];
  const good = Array.from({ length: 40 }, (_, index) => `good-${index}`);
  let fleet: ClustersFleet;
  let answering: AnsweringClusters;
  let replica: ClustersReplica | undefined;

  beforeAll(async () => {
    fleet = await ClustersFleet.open("SQLite");
    answering = await AnsweringClusters.start();
    for (const stage of STAGES) hanging.push(await HangingServer.start(stage));
  });
  afterAll(async () => {
    await fleet?.close();
    await answering?.[Symbol.asyncDispose]();
    for (const server of hanging) await server[Symbol.asyncDispose]();
  });

  afterEach(() => replica?.stop());

  /** Every good cluster is checked so many times more. */
  async function untilChecked(times: number): Promise<void> {
    const before = new Map(good.map((name) => [name, answering.asked(name)]));
    await until(() => good.every((name) => answering.asked(name) >= (before.get(name) ?? 0) + times), `${times} checks of each`);
  }

  test("checks that never end do not keep the other clusters from theirs", async () => {
    // Far beyond this test: no check is ended by its deadline, only by the client's own for connections.
    const kubernetes = { ...DEFAULT_HEALTH_CHECK_CONFIG, checkIntervalMs: 500, confirmMs: 100, checkDeadlineMs: 600_000 };
    replica = await fleet.replica({ kubernetes });
    const admin = new KubernetesClustersUser(fleet, replica);
    // The hanging ones come first in every line.
    for (const [index, { url, caPem }] of hanging.entries()) {
      const kubeconfig = writeKubeconfig({ server: url, caPem, credentials });
      await admin.create(`hanging-${index}`, { kubeconfig, enabled: true, discoverPrometheus: false });
    }
    await until(() => hanging.every(({ taken }) => taken > 0), "every hanging cluster to be asked");
    for (const name of good) {
      const kubeconfig = writeKubeconfig({ server: answering.server(name), caPem: answering.caPem, credentials });
      await admin.create(name, { kubeconfig, enabled: true, discoverPrometheus: false });
    }
    await untilChecked(3);
    expect((await admin.list({ healthStatuses: ["HEALTHY"] })).map(({ name }) => name).sort()).toEqual([...good].sort());
  });

  inCampaigns("they are UNAVAILABLE after their deadline, and the others stay healthy without a doubt", async () => {
    const kubernetes = {
      ...DEFAULT_HEALTH_CHECK_CONFIG,
      checkIntervalMs: 500,
      confirmMs: 100,
      checkDeadlineMs: 3_000,
      longestPauseMs: 500,
    };
    replica = await fleet.replica({ kubernetes });
    const admin = new KubernetesClustersUser(fleet, replica);
    const since = new Map((await admin.list({ name: "good-" })).map(({ id, healthSince }) => [id, healthSince]));
    const unavailable = () => admin.list({ healthStatuses: ["UNAVAILABLE"] });
    await until(async () => (await unavailable()).length === 10, "all hanging clusters to be unavailable");
    for (const { healthReason, lastConnectedAt } of await unavailable()) {
      expect(healthReason).toMatch(/^(RequestTimeout|ConnectTimeout|TlsFailed)$/);
      expect(lastConnectedAt).toBeNull();
    }
    // By now the hanging ones are asked over and over again, in their own lane.
    await untilChecked(3);
    const healthy = await admin.list({ healthStatuses: ["HEALTHY"] });
    expect(healthy).toHaveLength(40);
    for (const { id, healthSince } of healthy) expect(healthSince).toBe(since.get(id));
  });
});

for (const variant of CLUSTERS_VARIANTS) {
  describeWithPeers(`who checks which cluster on ${variant.name}`, variant.peers, () => {
    test("one replica checks a cluster, and another one goes on when it is gone", async () => {
      await using answering = await AnsweringClusters.start();
      const fleet = await ClustersFleet.open(variant.name);
      try {
        const kubernetes = { ...DEFAULT_HEALTH_CHECK_CONFIG, claimMs: 6_000 };
        const [one, two] = [await fleet.replica({ kubernetes }), await fleet.replica({ kubernetes })];
        const admin = new KubernetesClustersUser(fleet, two);
        const names = Array.from({ length: 6 }, (_, index) => `cluster-${index}`);
        for (const name of names) {
          const kubeconfig = writeKubeconfig({ server: answering.server(name), caPem: answering.caPem, credentials });
          await admin.create(name, { kubeconfig, enabled: true, discoverPrometheus: false });
        }
        const asked = () => names.map((name) => answering.asked(name));
        await until(async () => (await admin.list({ healthStatuses: ["HEALTHY"] })).length === 6, "all to be checked");
        expect(asked()).toEqual([1, 1, 1, 1, 1, 1]);
        await one.stop();
        // Whoever it was that checked them: now it is the other one, at once.
        const third = await fleet.replica({ kubernetes });
        await two.stop();
        await until(() => asked().every((count) => count >= 2), "the last replica to check them");
        const [cluster] = await new KubernetesClustersUser(fleet, third).list({ name: "cluster-0" });
        expect(cluster).toMatchObject({ healthStatus: "HEALTHY", version: "v1.31.4", nodeCount: 1, podCount: 0 });
      } finally {
        await fleet.close();
      }
    });

    test("a disabled cluster is not asked, and asked at once when it is enabled", async () => {
      await using answering = await AnsweringClusters.start();
      const fleet = await ClustersFleet.open(variant.name);
      try {
        const admin = new KubernetesClustersUser(fleet, await fleet.replica());
        const kubeconfig = writeKubeconfig({ server: answering.server("off"), caPem: answering.caPem, credentials });
        const { id } = await admin.create("off", { kubeconfig, discoverPrometheus: false });
        const other = await admin.create("on", {
          kubeconfig: writeKubeconfig({ server: answering.server("on"), caPem: answering.caPem, credentials }),
          enabled: true,
          discoverPrometheus: false,
        });
        await until(async () => (await admin.list({ healthStatuses: ["HEALTHY"] })).some((one) => one.id === other.id), "the other one");
        expect(answering.asked("off")).toBe(0);
        await admin.call("enable", { id });
        await until(async () => (await admin.list({ healthStatuses: ["HEALTHY"] })).length === 2, "it to be checked");
        await admin.call("disable", { id });
        expect((await admin.list({ name: "off" }))[0]).toMatchObject({ healthStatus: "UNKNOWN", healthReason: "Disabled" });
      } finally {
        await fleet.close();
      }
    });
  });
}
