import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { CLUSTERS_VARIANTS, ClustersFleet, type ClustersReplica } from "../../../support/clusters-fleet.ts";
import { CLUSTER_FIELDS, KubernetesClustersUser, type ShownCluster, unreachableKubeconfig } from "../../../support/kubernetes-clusters.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import { seededRandom, seedOfRun } from "../../../support/random.ts";

const seed = seedOfRun();

interface WatchedEvent {
  type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK";
  kubernetesCluster: ShownCluster | null;
}

for (const variant of CLUSTERS_VARIANTS) {
  describeWithPeers(`races over Kubernetes clusters on ${variant.name} (SEED=${seed})`, variant.peers, () => {
    const random = seededRandom(seed);
    let fleet: ClustersFleet;
    let replicas: ClustersReplica[];
    let admins: KubernetesClustersUser[];

    beforeAll(async () => {
      fleet = await ClustersFleet.open(variant.name);
      replicas = [await fleet.replica(), await fleet.replica()];
      admins = replicas.map((replica) => new KubernetesClustersUser(fleet, replica));
    });
    afterAll(() => fleet?.close());

    const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
    const each = <T>(count: number, work: (admin: KubernetesClustersUser, index: number) => Promise<T>) =>
      Promise.allSettled(Array.from({ length: count }, (_, index) => work(admins[index % 2]!, index)));

    test("of those who want one name at once, one gets it and the others are told so", async () => {
      for (let round = 0; round < 2; round += 1) {
        const outcomes = await each(6, (admin) => admin.create(`wanted-${round}`));
        expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
        for (const outcome of outcomes) if (outcome.status === "rejected") expect(outcome.reason).toMatchObject({ reason: "NameTaken" });
      }
    });

    test("one request that is sent several times at once makes one cluster", async () => {
      const outcomes = await each(6, (admin) => admin.create("repeated", { clientRequestId: "sent-often" }));
      const ids = outcomes.map((outcome) => (outcome.status === "fulfilled" ? outcome.value.id : outcome.reason));
      expect(new Set(ids)).toEqual(new Set([(await admins[0]!.list({ name: "repeated" }))[0]?.id]));
    });

    test("there is exactly one default, however many become it at once, and it is never deleted or disabled under the others", async () => {
      // Nobody listens: what checks find of them is no part of this.
      const clusters = await Promise.all(
        Array.from({ length: 4 }, (_, index) => admins[index % 2]!.create(`d-${index}`, { enabled: true })),
      );
      await admins[0]!.call("setDefault", { id: clusters[0]!.id });
      for (let round = 0; round < 4; round += 1) {
        const outcomes = await each(8, (admin, index) => {
          const id = pick(clusters).id;
          if (index % 4 === 1) return admin.call("disable", { id });
          if (index % 4 === 3) return admin.call("enable", { id });
          return admin.call("setDefault", { id });
        });
        for (const outcome of outcomes) {
          if (outcome.status === "rejected")
            expect(["DefaultCluster", "ClusterDisabled"]).toContain((outcome.reason as { reason?: string }).reason);
        }
        expect(await pick(admins).list({ isDefault: true })).toMatchObject([{ enabled: true }]);
      }
    });

    test("two changes of one access: the later one is told that the former was there", async () => {
      const { id } = await admins[0]!.create("contested");
      const outcomes = await each(4, (admin, index) =>
        admin.call("update", { id, kubeconfig: unreachableKubeconfig({ context: `c-${index}` }), force: true }),
      );
      const made = outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value.context] : []));
      expect(made.length).toBeGreaterThan(0);
      for (const outcome of outcomes) {
        if (outcome.status === "rejected") expect(outcome.reason).toMatchObject({ code: "CONFLICT", reason: "ClusterAccessChanged" });
      }
      const { kubernetesCluster } = await admins[1]!.query("query ($id: ID!) { kubernetesCluster(id: $id) { context kubeconfig } }", {
        id,
      });
      expect(made).toContain(kubernetesCluster.context);
      expect(Buffer.from(kubernetesCluster.kubeconfig, "base64").toString()).toContain(`current-context: ${kubernetesCluster.context}`);
    });

    test("after any mix of changes on two replicas, the events add up to what the list shows", async () => {
      const shown = new Map<string, ShownCluster>();
      const events = follow(replicas[1]!, shown);
      const names = ["m-0", "m-1", "m-2", "m-3"];
      const id = async () => pick(await pick(admins).list({ enabled: false }))?.id ?? "";
      const operations: Array<() => Promise<unknown>> = [
        () => pick(admins).create(pick(names)),
        async () => pick(admins).call("delete", { id: await id() }),
        async () => pick(admins).call("update", { id: await id(), name: pick(names) }),
        async () => pick(admins).call("update", { id: await id(), prometheusUrl: pick([null, "http://one", "http://two"]) }),
      ];
      for (let round = 0; round < 5; round += 1) {
        const outcomes = await Promise.allSettled(Array.from({ length: 6 }, () => pick(operations)()));
        const codes = outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [(outcome.reason as { code: string }).code] : []));
        for (const code of codes) expect(["INVALID_ARGUMENT", "NOT_FOUND"]).toContain(code);
      }
      const last = await admins[0]!.create("the last one");
      await events.until(last.id);
      const listed = await admins[0]!.list({ enabled: false });
      expect([...shown.values()].filter(({ enabled }) => !enabled).sort((a, b) => (a.name < b.name ? -1 : 1))).toEqual(listed);
      await events.end();
    });

    /** Keeps what a watch with a snapshot tells, and checks that each event fits the one before. */
    function follow(replica: ClustersReplica, shown: Map<string, ShownCluster>) {
      const query = `subscription { kubernetesClusterEvents(snapshot: true) { type kubernetesCluster { ${CLUSTER_FIELDS} } } }`;
      const abort = new AbortController();
      const run = async () => {
        const headers = await fleet.headers("viewer");
        for await (const result of replica.subgraph.handler.subscribe({ query, headers, signal: abort.signal })) {
          const { type, kubernetesCluster } = (result.data as { kubernetesClusterEvents: WatchedEvent }).kubernetesClusterEvents;
          if (kubernetesCluster === null) continue;
          expect(shown.has(kubernetesCluster.id)).toBe(type !== "ADDED");
          if (type === "DELETED") shown.delete(kubernetesCluster.id);
          else shown.set(kubernetesCluster.id, kubernetesCluster);
        }
      };
      const running = run();
      return {
        async until(id: string) {
          while (!shown.has(id)) await Promise.race([delay(10), running]);
        },
        async end() {
          abort.abort();
          await running;
        },
      };
    }
  });
}
