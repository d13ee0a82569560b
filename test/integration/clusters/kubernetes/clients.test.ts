import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import type { FleetError } from "../../../../platform/errors/fleet-error.ts";
import { CLUSTERS_VARIANTS, ClustersFleet, type ClustersReplica, refusal } from "../../../support/clusters-fleet.ts";
import { KubernetesClustersUser, unreachableKubeconfig } from "../../../support/kubernetes-clusters.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import { until } from "../../../support/until.ts";

for (const variant of CLUSTERS_VARIANTS) {
  describeWithPeers(`clients of Kubernetes clusters on ${variant.name}`, variant.peers, () => {
    let fleet: ClustersFleet;
    let replicas: ClustersReplica[];
    /** On the other replica than the one whose clients are looked at. */
    let admin: KubernetesClustersUser;
    let dropped: Array<[string, string | undefined]>;

    beforeAll(async () => {
      fleet = await ClustersFleet.open(variant.name);
      replicas = [await fleet.replica(), await fleet.replica()];
      admin = new KubernetesClustersUser(fleet, replicas[1]!);
      replicas[0]!.subgraph.services.kubernetes.clients.onDropped((id, why: FleetError) => dropped.push([id, why.reason]));
    });
    beforeEach(() => {
      dropped = [];
    });
    afterAll(() => fleet?.close());

    const api = (id: string) => replicas[0]!.subgraph.services.kubernetes.clients.api(id);
    const made = async (name: string) => (await admin.create(name, { enabled: true })).id;

    test("are one per cluster, however many ask at once", async () => {
      const id = await made("shared");
      const clients = await Promise.all(Array.from({ length: 5 }, () => api(id)));
      expect(new Set(clients.map((client) => client.api)).size).toBe(1);
      expect(clients[0]?.cluster).toMatchObject({ id, name: "shared", revision: 1 });
      await admin.call("update", { id, name: "renamed" });
      const renamed = await api(id);
      expect(renamed.api).toBe(clients[0]?.api);
      expect(renamed.cluster).toMatchObject({ name: "renamed", revision: 1 });
      expect(dropped).toEqual([]);
    });

    test("are replaced when another replica changed the access, and their users told", async () => {
      const id = await made("changed");
      const before = await api(id);
      await admin.call("update", { id, kubeconfig: unreachableKubeconfig(), force: true });
      await until(() => dropped.length > 0, "the news");
      expect(dropped).toEqual([[id, "ClusterAccessChanged"]]);
      const after = await api(id);
      expect(after.api).not.toBe(before.api);
      expect(after.cluster.revision).toBe(2);
      await expect(before.api.version({ signal: AbortSignal.timeout(5_000) })).rejects.toThrow();
    });

    test("are refused at once for a cluster that another replica disabled, and there again when it is enabled", async () => {
      const id = await made("disabled");
      await api(id);
      await admin.call("disable", { id });
      expect(await refusal(api(id))).toMatchObject({ code: "FAILED_PRECONDITION", reason: "ClusterDisabled", details: { id } });
      await until(() => dropped.length > 0, "the news");
      expect(dropped).toEqual([[id, "ClusterDisabled"]]);
      await admin.call("enable", { id });
      expect((await api(id)).cluster).toMatchObject({ enabled: true, revision: 3 });
    });

    test("are refused for a cluster that is deleted, or never was", async () => {
      const id = await made("deleted");
      await api(id);
      await admin.call("delete", { id });
      expect(await refusal(api(id))).toMatchObject({ code: "NOT_FOUND", details: { id } });
      await until(() => dropped.length > 0, "the news");
      expect(dropped).toEqual([[id, "ClusterDeleted"]]);
      expect(await refusal(api("k8s-none"))).toMatchObject({ code: "NOT_FOUND" });
    });
  });
}
